//! Lists of devices that are enrolled at once, and their unit files until they were received.
//!
//! Rows come in pieces, with keys made for each; nobody is enrolled by that. One commit then enrols all of them, or says
//! which can't be and enrols none. Unit files are due from then on, each until its receipt.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_decide::tag::Tag;
use thiserror::Error;

use crate::Digest;
use crate::device::{EnrolledDevice, NewIdentity};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A device of an import that is not committed.
#[derive(Debug, Clone)]
pub struct StagedDevice {
    /// Its line in the list.
    pub line: u64,
    /// The device as it is to be enrolled.
    pub device: EnrolledDevice,
    /// Its first identity; the state of all is the same.
    pub identity: NewIdentity,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Names the list.
    pub content: Digest,
    /// Devices of the list.
    pub lines: u64,
    /// Devices that came so far; 0 once it is committed.
    pub staged: u64,
    /// The last line that came so far; 0 once it is committed.
    pub staged_to: u64,
    /// When all of them were enrolled, seconds since 1970.
    pub committed_at: Option<u64>,
    /// Unit files that were not received yet.
    pub due: u64,
}

/// Why rows were not staged; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StageError {
    /// The import is of another list.
    #[error("the import is of another list")]
    OtherContent,
    /// All of them are enrolled already.
    #[error("the import is committed")]
    Committed,
    /// A name is in the list twice, or a line has another name than it had.
    #[error("a name is in the list twice")]
    Twice,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a line can't be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFault {
    /// A device or a gateway has the name.
    Taken(Endpoint),
    /// There is no gateway of this name.
    NoGateway(Endpoint),
}

/// All that enrolling an import writes, in one commit.
#[derive(Debug, Clone, Copy)]
pub struct ImportCommit<'a> {
    /// When, seconds since 1970.
    pub at: u64,
    /// The state that every identity begins with.
    pub state: &'a IdentityState,
    /// What the ledger gets; an event a device is among them.
    pub events: &'a [Event],
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// All are enrolled now.
    New,
    /// They were enrolled before.
    Before,
    /// Rows are missing; nothing was written.
    Incomplete {
        /// Rows that came so far.
        staged: u64,
        /// Rows of the list.
        lines: u64,
    },
    /// Some can't be enrolled; nothing was written. The first lines of these, in their order.
    Faults(Vec<(u64, LineFault)>),
    /// There is no such import.
    Missing,
}

/// A unit file that was not received yet, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitDue {
    /// Line of the device in its list.
    pub line: u64,
    /// The device.
    pub device: EnrolledDevice,
    /// Links in its key chain.
    pub chain_length: u16,
    /// The seed from the factory, sealed; `None` if the device has another one since.
    pub seed: Option<Sealed>,
}

/// Keeps imports.
#[async_trait]
pub trait Imports {
    /// Keeps rows of an import, and begins it with the first of them; a line that came before stays as it is.
    ///
    /// # Errors
    ///
    /// See [`StageError`].
    async fn stage_import(
        &self,
        tenant: &Tenant,
        id: &str,
        content: &Digest,
        lines: u64,
        rows: &[StagedDevice],
        at: u64,
    ) -> Result<(), StageError>;

    /// Reads how far an import is.
    async fn import(&self, tenant: &Tenant, id: &str) -> Result<Option<Import>, StoreError>;

    /// Names the staged devices of an import with their classes and gateways, by line, after the given one; at most
    /// `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn staged(
        &self,
        tenant: &Tenant,
        id: &str,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<StagedName>, StoreError>;

    /// Enrols all devices of an import, or none.
    async fn commit_import(
        &self,
        tenant: &Tenant,
        id: &str,
        commit: ImportCommit<'_>,
    ) -> Result<Committed, StoreError>;

    /// Reads unit files that were not received yet, by line, after the given one; at most `rows_max`, cut to
    /// [`crate::bounds::LIST_ROWS_MAX`].
    async fn units_due(
        &self,
        tenant: &Tenant,
        id: &str,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<UnitDue>, StoreError>;

    /// Takes the receipt of the unit files up to a line; they are not given any more. Tells how many that were.
    async fn units_received(&self, tenant: &Tenant, id: &str, up_to: u64) -> Result<u64, StoreError>;

    /// Reads how many links the key chains of devices have.
    async fn chain_lengths(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, u16>, StoreError>;

    /// Forgets imports that were begun before a time and not committed, with the keys made for them; tells how many.
    async fn forget_imports(&self, tenant: &Tenant, begun_before: u64) -> Result<u64, StoreError>;
}

/// A staged device by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedName {
    /// Its line in the list.
    pub line: u64,
    /// Its name.
    pub endpoint: Endpoint,
    /// Its class.
    pub class: String,
    /// The gateway that is to list it.
    pub gateway: Option<Endpoint>,
}
