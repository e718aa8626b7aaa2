//! The only room that sees seeds: opens what is sealed, derives keys, and keeps few of them in memory.

mod epoch;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_decide::identity::Place;
use bellwether_keys::chain::{self, ChainError, ChainLength, LINK_BYTES, Link, SPACING};
use bellwether_keys::derive::{self, DeriveError, DownKey, UpKey, WrapKey};
use bellwether_keys::sealing::{Label, MasterKey, SealingError};
use bellwether_keys::seed::Seed;
use bellwether_keys::share::ShareError;
use bellwether_keys::wrap::WrapAlgorithm;
use bellwether_manifests::message;
use bellwether_net::{EntropyError, Machine};
use bellwether_store::Sealed;
use bellwether_store::device::{Identity, Security};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

pub use epoch::NextSeed;

use crate::secret_file::{self, SecretFileError};

/// Why a secret was not made, sealed or opened.
#[derive(Debug, Error)]
pub enum VaultError {
    /// The master key's file can't be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Its file is gone, and what it sealed is not.
    #[error("{} is missing, but the database is sealed under it: restore it from its backup", .0.display())]
    Missing(PathBuf),
    /// The master key's command failed or printed something else.
    #[error("the master key command {0}")]
    Command(String),
    /// The master key is not 64 hexadecimal digits.
    #[error("the master key is not 64 hexadecimal digits")]
    Malformed,
    /// What is stored was sealed under another master key, or altered.
    #[error("{label} does not open under this master key: restore the key that belongs to this database")]
    Sealed {
        /// What was to be opened.
        label: String,
        /// Why it does not open.
        #[source]
        source: SealingError,
    },
    /// The system has no randomness to give.
    #[error("the system gives no randomness")]
    Randomness(#[from] EntropyError),
    /// The place is not in the chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The name or place gives no key.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// A share for the next seed is none.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The grant carries a share of another vault.
    #[error(
        "the grant's share was not made under this master key: restore the key that belongs to this database"
    )]
    OtherShare,
    /// The secret of the shares was not derived.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// What is made for a new identity.
pub struct NewSecrets {
    /// The seed, for the unit file.
    pub seed: Seed,
    /// The DTLS key, for the unit file.
    pub psk: Zeroizing<[u8; 32]>,
    /// The seed, for the store.
    pub sealed_seed: Sealed,
    /// Links of the chain at distances of [`SPACING`], for the store.
    pub sealed_links: Sealed,
    /// The DTLS key, for the store.
    pub sealed_psk: Sealed,
}

/// What is made for a new link between two.
pub struct NewLink {
    /// The DTLS key, for a unit file.
    pub psk: Zeroizing<[u8; 32]>,
    /// The DTLS key, for the store.
    pub sealed: Sealed,
}

/// The keys of one identity at one place.
pub struct PlaceKeys {
    /// Opens requests and reports.
    pub up: UpKey,
    /// Seals grants, verdicts and receipts.
    pub down: DownKey,
    /// Wraps content keys.
    pub wrap: WrapKey,
}

/// Seals, opens, derives.
pub struct Vault {
    machine: Arc<dyn Machine>,
    master: MasterKey,
    tenant: String,
    derived: Mutex<Derived>,
}

/// Derived keys, the oldest forgotten first.
#[derive(Default)]
struct Derived {
    keys: HashMap<(String, Place), Arc<PlaceKeys>>,
    order: VecDeque<(String, Place)>,
}

impl Vault {
    /// Takes the master key from the command, or from the file; a `fresh` vault, under which nothing is sealed yet,
    /// makes the file where there is none.
    ///
    /// # Errors
    ///
    /// [`VaultError`] says what to do about it.
    pub fn open(
        machine: Arc<dyn Machine>,
        tenant: &str,
        file: &Path,
        command: Option<&str>,
        fresh: bool,
    ) -> Result<Self, VaultError> {
        let text = match command {
            Some(command) => from_command(command)?,
            None => from_file(&*machine, file, fresh)?,
        };
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.as_bytes(), bytes.as_mut()).map_err(|_| VaultError::Malformed)?;
        Ok(Self::new(machine, tenant, MasterKey::new(*bytes)))
    }

    fn new(machine: Arc<dyn Machine>, tenant: &str, master: MasterKey) -> Self {
        Self { machine, master, tenant: tenant.to_owned(), derived: Mutex::default() }
    }

    /// Seals a secret under what it is and whose it is.
    ///
    /// # Errors
    ///
    /// [`VaultError::Randomness`], or [`VaultError::Sealed`] for a secret that is too long.
    pub fn seal(&self, kind: &str, id: &str, secret: &[u8]) -> Result<Sealed, VaultError> {
        let label = self.label(kind, id);
        let sealed = self.master.seal(&label, &self.machine.random()?, secret);
        sealed.map(Sealed::new).map_err(|source| VaultError::Sealed { label: label.to_string(), source })
    }

    /// Opens what was sealed for the same kind and owner.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`] under another master key or label, or for altered bytes.
    pub fn open_sealed(
        &self,
        kind: &str,
        id: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let label = self.label(kind, id);
        let opened = self.master.open(&label, sealed.as_bytes());
        opened.map_err(|source| VaultError::Sealed { label: label.to_string(), source })
    }

    /// Draws seed and DTLS key of a new identity.
    ///
    /// # Errors
    ///
    /// [`VaultError::Randomness`].
    pub fn new_secrets(&self, id: &str, length: ChainLength) -> Result<NewSecrets, VaultError> {
        let mut drawn = self.machine.random::<32>()?;
        let seed = Seed::new(drawn);
        drawn.zeroize();
        let psk = Zeroizing::new(self.machine.random::<32>()?);
        let links = spaced_bytes(&seed, length);
        Ok(NewSecrets {
            sealed_seed: self.seal(SEED, id, seed.expose())?,
            sealed_links: self.seal(LINKS, id, &links)?,
            sealed_psk: self.seal(DTLS_KEY, id, psk.as_ref())?,
            seed,
            psk,
        })
    }

    /// Draws the DTLS key of a new link; `kind` is [`GATEWAY_KEY`] or [`LINK_KEY`].
    ///
    /// # Errors
    ///
    /// [`VaultError::Randomness`].
    pub fn new_link(&self, kind: &str, id: &str) -> Result<NewLink, VaultError> {
        let psk = Zeroizing::new(self.machine.random::<32>()?);
        Ok(NewLink { sealed: self.seal(kind, id, psk.as_ref())?, psk })
    }

    /// Opens the DTLS key of a device.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`].
    pub fn dtls_key(&self, endpoint: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.open_sealed(DTLS_KEY, endpoint, sealed)
    }

    /// Opens the seed that a device has from the factory.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`].
    pub fn factory_seed(&self, id: &str, sealed: &Sealed) -> Result<Seed, VaultError> {
        Ok(Seed::new(*self.key_of(SEED, id, sealed)?))
    }

    /// Opens the DTLS key of a device; zeros for one that has none, as they stand in its unit file.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`].
    pub fn psk_of(&self, endpoint: &str, security: &Security) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        match security {
            Security::Psk { credential } => self.key_of(DTLS_KEY, endpoint, credential),
            Security::None => Ok(Zeroizing::new([0; 32])),
        }
    }

    /// Opens what was sealed for the same kind and owner, of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`], also for another length.
    pub fn key_of(&self, kind: &str, id: &str, sealed: &Sealed) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let opened = self.open_sealed(kind, id, sealed)?;
        let mut key = Zeroizing::new([0; 32]);
        if opened.len() != key.len() {
            let label = self.label(kind, id).to_string();
            return Err(VaultError::Sealed { label, source: SealingError::Length });
        }
        key.copy_from_slice(&opened);
        Ok(key)
    }

    /// Gives the keys of an identity at a place of an epoch that is kept: from memory, else by opening its links.
    /// `None` for another epoch or an index past the chain's end.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`].
    pub fn keys(&self, identity: &Identity, place: Place) -> Result<Option<Arc<PlaceKeys>>, VaultError> {
        let Some(epoch) = identity.epoch(place.epoch).filter(|_| place.index < identity.chain_length) else {
            return Ok(None);
        };
        let name = (identity.id.as_str().to_owned(), place);
        if let Some(keys) = self.locked().keys.get(&name) {
            return Ok(Some(Arc::clone(keys)));
        }
        let id = identity.id.as_str();
        let length = ChainLength::try_from(u64::from(identity.chain_length))?;
        let link = self.spaced_link(id, length, &epoch.links, place)?.earlier(place.index)?;
        let keys = Arc::new(place_keys(id, &link, place)?);
        self.locked().keep(name, &keys);
        Ok(Some(keys))
    }

    /// Opens the stored link from which an index is reached in the fewest steps.
    fn spaced_link(
        &self,
        id: &str,
        length: ChainLength,
        links: &Sealed,
        place: Place,
    ) -> Result<Link, VaultError> {
        let links = self.open_sealed(&kind_of(LINKS, place.epoch), id, links)?;
        // They are stored from the end of the chain down, one for each SPACING indices.
        let from_end = usize::from(length.last_index() / SPACING - place.index / SPACING);
        let stored = links.chunks_exact(LINK_BYTES).nth(from_end).and_then(|link| link.try_into().ok());
        let mut secret: [u8; LINK_BYTES] = stored.ok_or(ChainError::PastEnd(place.index))?;
        let link = Link::new(length.spaced_index(place.index), secret);
        secret.zeroize();
        Ok(link)
    }

    fn label<'a>(&'a self, kind: &'a str, id: &'a str) -> Label<'a> {
        Label { tenant: &self.tenant, kind, id }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Derived> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Derived {
    fn keep(&mut self, name: (String, Place), keys: &Arc<PlaceKeys>) {
        if self.keys.insert(name.clone(), Arc::clone(keys)).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > DERIVED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }
}

fn place_keys(id: &str, link: &Link, place: Place) -> Result<PlaceKeys, VaultError> {
    let at = message::Place { id, epoch: place.epoch, index: place.index };
    Ok(PlaceKeys {
        up: derive::up(link, &at)?,
        down: derive::down(link, &at)?,
        wrap: derive::wrap(link, &at, WrapAlgorithm::A256Kw)?,
    })
}

/// The label of an epoch's secret: what is sealed for one epoch does not open as another's.
fn kind_of(kind: &'static str, epoch: u16) -> Cow<'static, str> {
    // The factory's epoch is labelled as it was when there was no other.
    if epoch == 0 { Cow::Borrowed(kind) } else { Cow::Owned(format!("{kind} of epoch {epoch}")) }
}

/// The links of a chain that are stored, one after the other, from its end down.
fn spaced_bytes(seed: &Seed, length: ChainLength) -> Zeroizing<Vec<u8>> {
    let count = usize::from(length.last_index() / SPACING) + 1;
    let mut links = Zeroizing::new(Vec::with_capacity(count * LINK_BYTES));
    for link in chain::spaced_links(seed, length) {
        links.extend_from_slice(link.expose());
    }
    links
}

/// Runs the command for the master key and looks whether it prints one.
///
/// # Errors
///
/// [`VaultError::Command`], [`VaultError::Malformed`].
pub fn try_command(command: &str) -> Result<(), VaultError> {
    let text = from_command(command)?;
    let right = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if right { Ok(()) } else { Err(VaultError::Malformed) }
}

fn from_command(command: &str) -> Result<Zeroizing<String>, VaultError> {
    let output = Command::new("sh").arg("-c").arg(command).output();
    let output = output.map_err(|error| VaultError::Command(format!("can't be run: {error}")))?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(VaultError::Command(format!("ended with {}", output.status)));
    }
    let text = std::str::from_utf8(&stdout).map_err(|_| VaultError::Malformed)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn from_file(machine: &dyn Machine, file: &Path, fresh: bool) -> Result<Zeroizing<String>, VaultError> {
    if let Some(text) = secret_file::read(file)? {
        return Ok(text);
    }
    if !fresh {
        return Err(VaultError::Missing(file.to_owned()));
    }
    let key = Zeroizing::new(machine.random::<32>()?);
    let text = Zeroizing::new(hex::encode(key.as_ref()));
    secret_file::write(file, &text)?;
    Ok(text)
}

/// Labels under which secrets are sealed; never rename, or what is stored does not open.
const SEED: &str = "seed";
const LINKS: &str = "links";
pub(crate) const DTLS_KEY: &str = "dtls key";
/// The label of keys between a gateway and the server.
pub const GATEWAY_KEY: &str = "gateway key";
/// The label of keys between a device and its gateway.
pub const LINK_KEY: &str = "link key";
/// The label of content keys, sealed by the builder.
pub const CONTENT_KEY: &str = "content key";
/// The label of the distributor's signing key.
pub const DISTRIBUTOR_KEY: &str = "distributor key";

/// Places whose keys stay in memory: about 500 bytes each, so 32 MiB.
const DERIVED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use bellwether_decide::device::Endpoint;
    use bellwether_decide::identity::IdentityState;
    use bellwether_keys::mac;
    use bellwether_store::device::EpochKeys;

    use super::*;
    use bellwether_net::ThisMachine;

    fn vault() -> Vault {
        Vault::new(Arc::new(ThisMachine), "default", MasterKey::new([7; 32]))
    }

    fn identity(secrets: &NewSecrets, chain_length: u16) -> Identity {
        let id = Endpoint::try_from("lamp-1").expect("a name");
        let (seed, links) = (Some(secrets.sealed_seed.clone()), secrets.sealed_links.clone());
        let keys = vec![EpochKeys { epoch: 0, seed, links }];
        Identity { endpoint: id.clone(), id, chain_length, keys, state: IdentityState::new(0) }
    }

    #[test]
    fn keys_from_stored_links_are_those_from_the_seed_at_every_index() {
        for length in [1, 63, 64, 65, 130] {
            // One for each: it remembers the keys of a name.
            let vault = vault();
            let chain_length = ChainLength::try_from(u64::from(length)).expect("in bounds");
            let secrets = vault.new_secrets("lamp-1", chain_length).expect("drawn");
            let identity = identity(&secrets, length);
            for index in 0..length {
                let link = chain::link(&secrets.seed, index, chain_length).expect("in the chain");
                let at = message::Place { id: "lamp-1", epoch: 0, index };
                let receipt = message::Receipt { place: at, report: &[1; 32], now: 2 };
                let expected =
                    mac::seal_receipt_to_vec(&derive::down(&link, &at).expect("derived"), &receipt);
                let keys =
                    vault.keys(&identity, Place { epoch: 0, index }).expect("derived").expect("in the chain");
                assert_eq!(
                    mac::seal_receipt_to_vec(&keys.down, &receipt),
                    expected,
                    "index {index} of {length}"
                );
            }
        }
    }

    #[test]
    fn index_past_the_chain_and_epoch_that_is_not_kept_have_no_keys() {
        let vault = vault();
        let secrets = vault.new_secrets("lamp-1", ChainLength::DEFAULT).expect("drawn");
        for place in [Place { epoch: 0, index: 1024 }, Place { epoch: 1, index: 0 }] {
            assert!(vault.keys(&identity(&secrets, 1024), place).expect("looked").is_none());
        }
    }

    #[test]
    fn sealed_secret_of_one_device_does_not_open_as_anothers() {
        let vault = vault();
        let sealed = vault.seal(DTLS_KEY, "lamp-1", b"key").expect("sealed");
        assert_eq!(vault.dtls_key("lamp-1", &sealed).expect("opened").as_slice(), b"key");
        assert!(matches!(vault.dtls_key("lamp-2", &sealed), Err(VaultError::Sealed { .. })));
    }

    #[test]
    fn lost_master_key_is_not_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("master.key");
        assert!(matches!(
            Vault::open(Arc::new(ThisMachine), "default", &file, None, false),
            Err(VaultError::Missing(_))
        ));
        assert!(!file.exists());
    }

    #[test]
    fn master_key_file_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("master.key");
        let sealed = Vault::open(Arc::new(ThisMachine), "default", &file, None, true)
            .expect("made")
            .seal(SEED, "a", b"s")
            .expect("sealed");
        let again = Vault::open(Arc::new(ThisMachine), "default", &file, None, false).expect("read");
        assert_eq!(again.open_sealed(SEED, "a", &sealed).expect("opened").as_slice(), b"s");
    }

    #[test]
    fn master_key_comes_from_a_command_where_one_is_set() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("master.key");
        let command = format!("echo {}", hex::encode([7; 32]));
        let sealed = vault().seal(SEED, "a", b"s").expect("sealed");
        let other =
            Vault::open(Arc::new(ThisMachine), "default", &file, Some(&command), false).expect("opened");
        assert_eq!(other.open_sealed(SEED, "a", &sealed).expect("opened").as_slice(), b"s");
        assert!(!file.exists());
        assert!(matches!(
            Vault::open(Arc::new(ThisMachine), "default", &file, Some("exit 3"), true),
            Err(VaultError::Command(_))
        ));
    }
}
