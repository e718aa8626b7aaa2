//! Every decision of the server, pure.
//!
//! Nothing here reads a clock, a socket, a database or randomness: `now` (seconds since 1970) and random bytes are
//! arguments, and what comes out is a value that the shell carries out without a choice left.

mod advice;
pub mod alarm;
pub mod campaign;
pub mod deed;
pub mod device;
pub mod eligibility;
pub mod explain;
pub mod fork;
pub mod identity;
pub mod key_index;
pub mod operator;
pub mod queue_mode;
pub mod refusal;
pub mod release;
pub mod resolve;
pub mod retention;
pub mod tag;
pub mod version;
