//! The text form of events: JSON with a version, which stays readable for ever.
//!
//! Domain types are not `Serialize`; the types here are the ledger's, and a rename in the domain does not reach them.
