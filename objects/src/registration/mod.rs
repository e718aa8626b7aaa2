//! What a client says when it registers and when it updates its registration.
//!
//! The queries of `POST /rd` and `POST /rd/<id>` are [`RegisterParameters`] and [`UpdateParameters`], the
//! payload is an [`ObjectList`].
//!
//! Source: LwM2M Core 1.2 §6.2.

mod binding;
mod endpoint;
mod object_list;
mod parameters;
mod version;

pub use binding::{Binding, BindingError, Transport};
pub use endpoint::{Endpoint, EndpointError};
pub use object_list::{ObjectList, ObjectListError, ObjectVersion, SupportedObject};
pub use parameters::{LIFETIME_DEFAULT_S, QueryError, RegisterParameters, UpdateParameters};
pub use version::Version;
