//! Every limit of the store, each with where its number comes from.

/// Rows that one list call returns at most; a larger wish is cut to this.
///
/// A page of device rows is then about 200 kB, and a reader connection is held for milliseconds.
pub const LIST_ROWS_MAX: u32 = 1_000;

/// Rows that one statement carries as one JSON text.
///
/// Measured: from 256 rows a statement on, the cost per row no longer falls; the JSON text of this many endpoint names
/// of 255 bytes stays under 600 kB.
pub const STATEMENT_ROWS_MAX: usize = 2_048;

/// Rows of an import that one statement enrols or forgets.
///
/// Measured on PostgreSQL: the slowest of them puts tags, 0.12 ms each, so that this many devices with all the tags that one
/// may have take 8 s. That is far from [`STATEMENT_WAIT_MS`] also on a slower machine, and more rows would make none cheaper.
pub const IMPORT_ROWS_MAX: u32 = 2_048;

/// Bytes of a name: endpoint, identity, campaign, request id, setting key, version.
///
/// `LwM2M` endpoint names are URN-like and CoAP options carry at most 255 bytes of them.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of a sealed blob, a reply, a policy, the parameters of a patch or an event.
///
/// The largest is the blob of sparse links: 4096 / 64 links of 32 bytes and their seal. The rest is room to grow.
pub const BLOB_BYTES_MAX: usize = 64 * 1_024;

/// Bytes of a signed envelope or of an anchors document.
///
/// Devices of the smallest class hold a manifest in RAM; a mixed fleet of a hundred classes needs about 16 kB.
pub const DOCUMENT_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of one image or resource in the content-addressed folder; it is held in memory while it is put or read.
///
/// Linux root file systems of gateways are the largest components in sight.
pub const IMAGE_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Writes that share one commit at most.
///
/// Measured: from 256 rows a commit on, the cost of a row no longer falls; the last of so many waits some 50 ms for it.
pub const BATCH_TURNS_MAX: u32 = 256;

/// Connections that read at the same time; each costs a thread and a page cache of 2 MB.
pub const READERS_MAX: u32 = 4;

/// Milliseconds that a statement waits for a lock that another process (a backup, a shell) holds.
pub const BUSY_WAIT_MS: u64 = 5_000;

/// Bytes of an identity's state.
///
/// 1024 kept reports of about 250 bytes and 32 grants of about 500 are the bulk; a factor of four is room for long
/// answers.
pub const STATE_BYTES_MAX: usize = 1_024 * 1_024;

/// Epochs whose keys are kept per identity; the oldest is forgotten past it.
///
/// A report is repeated until its receipt comes, over days; 64 re-seedings take years, and 64 rows are read in one go.
pub const EPOCHS_MAX: u16 = 64;

/// Sleeping sessions of one identity; the one that has slept longest is forgotten past it.
///
/// As many as an engine keeps awake: a device that lost its own has left one behind, and so has a copy of it.
pub const SESSIONS_PER_IDENTITY_MAX: u32 = 4;

/// Connections to PostgreSQL that write: one at a time does, the others wait for the lock at the data base, so that the
/// next begins without a way there and back.
pub const WRITERS_MAX: u32 = 4;

/// Milliseconds that a call waits for a connection to PostgreSQL; about as long as a device waits for an answer.
pub const CONNECTION_WAIT_MS: u64 = 5_000;

/// How often that long a store that is being opened waits for its first connection: half a minute, since the machine of the
/// data base may have been switched on together with this one.
pub const OPENING_WAITS_MAX: u32 = 6;

/// Milliseconds that one statement may take at PostgreSQL, its wait for the lock included.
///
/// The longest is the launch of a campaign for a million devices, and that is thousands of statements.
pub const STATEMENT_WAIT_MS: u64 = 60_000;

/// Milliseconds that a call waits for the answer to one statement: longer than PostgreSQL itself lets one take, so that one
/// that takes long is told from a data base that is gone. The server that works on a data base finds that out within
/// [`LEASE_LOOK_MS`] and [`CONNECTION_WAIT_MS`].
pub const ANSWER_WAIT_MS: u64 = STATEMENT_WAIT_MS + CONNECTION_WAIT_MS;

/// Milliseconds that a step of the schema waits for a lock that somebody else holds on the data base: the steps of another
/// server, a dump, a transaction that a person left open. Ten minutes: a dump of millions of rows takes some, and PostgreSQL
/// itself waits for good, also for one that hangs.
pub const SCHEMA_LOCK_WAIT_MS: u64 = 600_000;

/// Milliseconds after which a start that goes on waiting for a lock says so again.
pub const SCHEMA_TOLD_MS: u64 = 60_000;

/// Milliseconds that a starting server waits for the lease of one that was just killed: PostgreSQL sees at once that a
/// connection has ended, and rolls back what it had begun.
pub const LEASE_WAIT_MS: u64 = 5_000;

/// Milliseconds between two looks at the connection of the lease: as often as the server looks whether a store is well.
pub const LEASE_LOOK_MS: u64 = 2_000;

/// Milliseconds after which PostgreSQL ends a transaction whose server says nothing any more.
pub const IDLE_TRANSACTION_MS: u64 = 15_000;

/// Values that one statement carries when a store is copied: PostgreSQL numbers its places in 16 bits, and no table has
/// 30 columns.
pub const STATEMENT_VALUES_MAX: usize = 30_000;

/// Bytes that one statement carries when a store is copied, but for its last row.
pub const STATEMENT_BYTES_MAX: usize = 4 * 1_024 * 1_024;
