//! application/vnd.oma.lwm2m+tlv: nested nodes of type, id and length.
//!
//! [`structure`] reads and writes the nodes, [`typed`] turns them into paths and values by the object tables.
//!
//! Source: LwM2M Core 1.2 §7.4.3.

pub mod structure;
pub mod typed;

pub use structure::{Node, ResourceNode, decode, encode};
pub use typed::{decode_values, encode_values};
#[cfg(feature = "senml")]
pub(super) use typed::{is_within, repeated};

use thiserror::Error;

use crate::path::Path;
use crate::value::ValueType;

/// Why bytes are no TLV, or values cannot be written as one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TlvError {
    /// A node's header or value goes past the end of what holds it.
    #[error("TLV node at byte {at} goes past its end")]
    Truncated {
        /// Position in the body.
        at: usize,
    },
    /// A node stands inside another that cannot hold it.
    #[error("TLV node at byte {at} is of a kind that cannot stand there")]
    Misplaced {
        /// Position in the body.
        at: usize,
    },
    /// More nodes than [`structure::NODES_MAX`].
    #[error("TLV has more than {} nodes", structure::NODES_MAX)]
    TooManyNodes,
    /// An instance id is 65535.
    #[error("TLV node has the reserved id 65535")]
    ReservedId,
    /// A node does not lie below the path that was asked for.
    #[error("TLV holds something that is not part of {at}")]
    Outside {
        /// The path that was asked for.
        at: Path,
    },
    /// A resource or an instance of it stands twice: nobody can say which value counts.
    #[error("TLV gives {path} twice")]
    Repeated {
        /// The resource or resource instance.
        path: Path,
    },
    /// A resource came as multiple and is single, the other way round, or holds no value at all.
    #[error("TLV node does not fit the definition of {path}")]
    NotAsDefined {
        /// The resource.
        path: Path,
    },
    /// The bytes are no value of the resource's type.
    #[error("TLV value of {path} is no {value_type:?}")]
    NotOfType {
        /// The resource or resource instance.
        path: Path,
        /// Type by the object table.
        value_type: ValueType,
    },
    /// A value is longer than 24 bits can say.
    #[error("value is longer than a TLV node can hold")]
    TooLong,
}
