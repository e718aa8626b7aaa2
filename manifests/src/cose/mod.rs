//! COSE as far as Bellwether speaks it: P-256 keys, Sign1, Sign and Mac0.
//!
//! Source: RFC 9052, RFC 9053, RFC 9864 (fully specified algorithms).

pub mod key;
pub mod mac0;
#[cfg(feature = "author")]
pub mod private_key;
pub mod sign;
pub mod sign1;
pub(crate) mod structure;

pub use key::{Algorithm, KeyError, KeyId, P256, PublicKey, SignatureVerifier};
#[cfg(feature = "author")]
pub use private_key::{PrivateKey, PrivateKeyError};
pub use sign::{Sign, Signer};
#[cfg(feature = "author")]
pub use sign::{add_signers, sign};
pub use sign1::{CoseError, DetachedSign1, Sign1, SignatureError};
#[cfg(feature = "author")]
pub use sign1::{sign1, sign1_detached};
