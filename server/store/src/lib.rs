//! What the server keeps, behind one trait.
//!
//! [`Store`] is what the server sees; [`sqlite::SqliteStore`] keeps it in one file, [`postgres::PostgresStore`] in a
//! PostgreSQL data base. Both run the statements in `sql/`, which are compiled once for each. Every call names its [`Tenant`], and
//! every primary key begins with it. What a call has acknowledged is on disk. Secrets come sealed: the store holds
//! [`Sealed`] blobs that it cannot open. Image and resource bytes lie beside the data base, in [`images::Images`].
//!
//! What must hold for every back end is in the module `conformance`, behind the feature of that name.

#![expect(
    clippy::duplicate_mod,
    reason = "sql/ is compiled once for each data base: the types of its statements differ, their text does not"
)]

pub mod bounds;
pub mod campaign;
pub mod catalogue;
pub mod census;
pub mod codec;
mod columns;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod copy;
pub mod device;
pub mod error;
pub mod fleet;
pub mod gateway;
pub mod images;
pub mod import;
pub mod ledger;
pub mod operators;
pub mod postgres;
pub mod publication;
pub mod sealed;
pub mod session;
pub mod settings;
pub mod sqlite;
pub mod tenant;

pub use bellwether_decide::identity::Digest;
pub use error::{AddError, OpenError, Schema, StorageFault, StoreError, UpdateError};
pub use postgres::PostgresStore;
pub use sealed::Sealed;
pub use sqlite::SqliteStore;
pub use tenant::Tenant;

/// Keeps all that the server must not forget; `dyn Store` has the calls of its parts.
#[async_trait::async_trait]
pub trait Store:
    device::Devices
    + gateway::Gateways
    + ledger::Ledger
    + catalogue::Catalogue
    + campaign::Campaigns
    + settings::Settings
    + publication::Publications
    + operators::Operators
    + fleet::Fleets
    + import::Imports
    + census::Censuses
    + session::Sessions
    + Send
    + Sync
{
    /// Waits for running calls and closes what the store holds open; calls after it fail.
    ///
    /// Dropping the store instead loses nothing that was acknowledged.
    async fn close(&self);

    /// Waits until another server works on the data base: this one must end then, since what it has in memory is not what
    /// stands there any more. It writes nothing from before that on. One caller may wait.
    async fn superseded(&self);
}
