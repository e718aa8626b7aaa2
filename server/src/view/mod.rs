//! What happens, as others see it: events and progress over MQTT. Writes nothing but how far it has come.

mod messages;
mod publisher;
mod registrations;
pub(crate) mod topics;

pub(crate) use messages::told;
pub use publisher::run;
pub use topics::Topics;
