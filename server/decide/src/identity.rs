//! What the server keeps per identity: the state that [`crate::key_index`] decides on.
//!
//! Everything here is plain and owned, so a store can write it down and a test can compare it. Nothing here is
//! secret: seeds and keys stay in the vault. Source: the update protocol, "State per identity".

use std::collections::{BTreeMap, BTreeSet};

/// SHA-256 digest.
pub type Digest = [u8; 32];

/// First 8 bytes of the hash over all confirming reports of an identity; 8 zero bytes at first.
pub type ForkHead = [u8; 8];

/// Random bytes of a "prove" verdict, which the device sends back as an echo.
pub type Token = [u8; 16];

/// Which key of an identity's chains: ordered by epoch, then index.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Which seed: 0 from the factory, one more at each re-seeding.
    pub epoch: u16,
    /// How many updates were confirmed in this epoch.
    pub index: u16,
}

/// State of one identity. Written by compare-and-set on `revision`, before any answer leaves.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IdentityState {
    /// Version for compare-and-set: a decision that changes anything raises it by one.
    pub revision: u64,
    /// Where the identity stands ("s" in the table).
    pub place: Place,
    /// Fork head at `place`.
    pub fork: ForkHead,
    /// Highest counter of an accepted request; `None` before the first.
    pub counter_highest: Option<u64>,
    /// The last accepted request with its answer.
    pub last: Option<LastAnswer>,
    /// Highest grant number ever given; 0 before the first.
    pub grant_highest: u64,
    /// Grants given at `place` and the place before it, oldest first; at most one is open.
    /// At most [`GRANTS_MAX`].
    pub grants: Vec<Grant>,
    /// What moved each place that was left, by that place.
    pub confirmed: BTreeMap<Place, Confirmed>,
    /// Reports received with their receipts, oldest first. At most [`REPORTS_MAX`].
    pub reports: Vec<KeptReport>,
    /// "Prove" verdicts that are out. At most [`PROVES_MAX`].
    pub proves: Vec<Prove>,
    /// Restores of the store that this identity was heard since, freshly proved. Fewer than there were: it is stale.
    pub restores: u64,
    /// Place at which grants may have been given that are not known, after a restore or a resync.
    pub unknown_at: Option<Place>,
    /// Whether the report of an unknown grant moved the fork head, which may have been moved by another one.
    pub fork_unsure: bool,
    /// Up to this counter a request may be a replay, and has to be proved: the highest one before a "forward".
    pub counter_doubtful: Option<u64>,
    /// Oldest epoch whose seed is still kept.
    pub seed_oldest: u16,
    /// Epochs whose seed was made with shares: nobody else can compute it.
    pub epochs_shared: BTreeSet<u16>,
    /// What an operator allowed.
    pub permits: Permits,
    /// Last second in which an operator blocks the identity, seconds since 1970; `u64::MAX` for ever.
    pub blocked_until: Option<u64>,
}

/// What an operator allowed an identity, beyond the table.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Permits {
    /// Last second in which a device that is ahead may be believed, once; seconds since 1970.
    pub resync_until: Option<u64>,
    /// Manifests of which one more grant may be given. At most [`REISSUES_MAX`].
    pub reissue: Vec<Digest>,
    /// A device that was restored to an older state may go on from the identity's place.
    pub forward: Option<ForwardPermit>,
}

/// Leave for a device that lost its state to go on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ForwardPermit {
    /// Last second, seconds since 1970.
    pub until: u64,
    /// Whether a device was told to go on; from then on its next good request ends the permit.
    pub used: bool,
}

/// The last accepted request and the bytes that answered it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LastAnswer {
    /// SHA-256 of the request's bytes, with its MAC.
    pub request: Digest,
    /// The whole answer, sent again unchanged for the same request.
    pub answer: Vec<u8>,
}

/// One grant that was given.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Grant {
    /// Its number: higher than any before it for this identity.
    pub number: u64,
    /// Place whose keys it uses.
    pub place: Place,
    /// Place that confirming it leads to.
    pub leads_to: Place,
    /// Digest of the manifest that it answers.
    pub manifest: Digest,
    /// SHA-256 of the encoded selector that it answers.
    pub selector: Digest,
    /// What it opens, 1 to 8.
    pub contents: Vec<Content>,
    /// Digest over the keys of options 4 and 6; `None` if the request had neither.
    pub keys: Option<Digest>,
    /// Expiry, seconds since 1970.
    pub not_after: u64,
    /// Which moments are reported, and which of them moves the index.
    pub confirm: Confirm,
    /// Whether confirming it leads to a new seed, and by which shares.
    pub reseed: Option<Reseed>,
    /// Whether the device asks "go?" before it swaps.
    pub go: bool,
    /// The encoded grant message, given again unchanged in rows 5 and 7.
    pub message: Vec<u8>,
    /// What became of it.
    pub state: GrantState,
}

/// A new seed that a grant leads to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Reseed {
    /// The shares that are mixed into it; without them it follows from the old seed alone.
    pub shares: Option<Shares>,
}

/// Public shares of a seed, each an encoded `COSE_Key`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Shares {
    /// The server's.
    pub server: Vec<u8>,
    /// The device's.
    pub device: Vec<u8>,
}

/// One resource that a grant opens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Content {
    /// Index of the component in the manifest.
    pub component: u64,
    /// Digest of the bytes as carried.
    pub content: Digest,
    /// Digest of the image that the device ends with.
    pub installed: Digest,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GrantState {
    /// Given; nothing was heard since.
    Open,
    /// Still open: its image stands verified in the spare slot, and *installed* will move the index.
    Decrypted,
    /// Replaced by a newer grant, or its place was left by another one.
    Closed,
    /// The device reported that it failed.
    Failed,
    /// Its confirming report, or proof of it, moved the index.
    Confirmed,
}

/// Which reports a grant asks for, and which of them moves the index. The numbers go over the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Confirm {
    /// 1: the *decrypted* report moves the index.
    Decrypted,
    /// 2: the *installed* report moves the index.
    Installed,
    /// 3: both are sent, *installed* moves the index.
    Both,
}

/// What a report tells. The numbers go over the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// 1: the image is written and verified.
    Decrypted,
    /// 2: the image runs and was confirmed.
    Installed,
    /// 3: the update failed.
    Failed,
}

/// What moved the index away from one place.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Confirmed {
    /// Number of the grant.
    pub grant: u64,
    /// Which of its reports was the confirming one.
    pub confirm: Confirm,
    /// Digest of the confirming report.
    pub report: Digest,
    /// Manifest that was confirmed.
    pub manifest: Digest,
    /// Images that the device runs after it, as (component, digest); empty for a grant that is not known.
    pub installed: Vec<(u64, Digest)>,
    /// Place that it led to.
    pub leads_to: Place,
    /// Grants given again for this manifest after a failure was reported.
    pub given_again: u32,
}

/// One report that was received, with the receipt that answered it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeptReport {
    /// SHA-256 of the encoded Report.
    pub digest: Digest,
    /// Place of the grant that it speaks of.
    pub place: Place,
    /// Number of that grant; 0: none was given.
    pub grant: u64,
    /// What it tells.
    pub moment: Moment,
    /// The encoded receipt, sent again unchanged for the same report.
    pub receipt: Vec<u8>,
    /// Manifest that it names, while it is ahead of the server and waits to be run through the table (row 13).
    pub ahead: Option<Digest>,
}

/// A "prove" verdict that is out.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Prove {
    /// What the device has to send back.
    pub token: Token,
    /// Row that issued it.
    pub row: ProveRow,
    /// Place of the request that it answered; its echo comes under the same key.
    pub place: Place,
    /// Highest counter when it was issued.
    pub counter_highest: Option<u64>,
    /// Last second in which its echo counts, seconds since 1970.
    pub expires: u64,
}

/// Rows that issue a "prove".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProveRow {
    /// Row 3: at s, counter not above the highest.
    R3,
    /// Row 13: ahead of the server.
    R13,
    /// Row 14: below s.
    R14,
}

impl IdentityState {
    /// Makes the state of an identity that was never heard of, as it leaves the factory.
    #[must_use]
    pub fn new(epoch: u16) -> Self {
        Self {
            revision: 0,
            place: Place { epoch, index: 0 },
            fork: [0; 8],
            counter_highest: None,
            last: None,
            grant_highest: 0,
            grants: Vec::new(),
            confirmed: BTreeMap::new(),
            reports: Vec::new(),
            proves: Vec::new(),
            restores: 0,
            unknown_at: None,
            fork_unsure: false,
            counter_doubtful: None,
            seed_oldest: epoch,
            epochs_shared: BTreeSet::new(),
            permits: Permits::default(),
            blocked_until: None,
        }
    }

    /// Tells whether the store was restored since this identity was last heard, freshly proved.
    #[must_use]
    pub fn is_stale(&self, restores: u64) -> bool {
        self.restores < restores
    }

    /// Tells whether an operator blocks the identity in this second.
    #[must_use]
    pub fn is_blocked(&self, now: u64) -> bool {
        self.blocked_until.is_some_and(|until| now <= until)
    }

    /// Finds the index from which a confirmed grant left an epoch that is over; `None` where a resync skipped it.
    ///
    /// The link of that index is what has to stay when the seed of the epoch goes.
    #[must_use]
    pub fn last_index_of(&self, epoch: u16) -> Option<u16> {
        let left_by =
            |(place, kept): (&Place, &Confirmed)| (kept.leads_to.epoch > epoch).then_some(place.index);
        let ends = Place { epoch, index: u16::MAX };
        self.confirmed.range(Place { epoch, index: 0 }..=ends).next_back().and_then(left_by)
    }

    /// Finds the open grant at the place of the identity.
    #[must_use]
    pub fn open_grant(&self) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.place == self.place && grant.is_open())
    }

    /// Finds the grant of this number at this place, among those at s and s - 1.
    #[must_use]
    pub fn grant(&self, place: Place, number: u64) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.place == place && grant.number == number)
    }

    /// Finds the newest confirmation of this manifest, with the place that it moved.
    #[must_use]
    pub fn confirmed_manifest(&self, manifest: &Digest) -> Option<(Place, &Confirmed)> {
        self.confirmed
            .iter()
            .rev()
            .find(|(_, kept)| kept.manifest == *manifest)
            .map(|(place, kept)| (*place, kept))
    }

    /// Tells whether a report of this moment about this grant is kept.
    #[must_use]
    pub fn reported(&self, place: Place, grant: u64, moment: Moment) -> bool {
        self.reports.iter().any(|kept| (kept.place, kept.grant, kept.moment) == (place, grant, moment))
    }
}

impl Grant {
    /// Tells whether the grant is neither closed, failed nor confirmed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, GrantState::Open | GrantState::Decrypted)
    }
}

impl Place {
    /// Gives the next place of the same epoch; `None` past the last index that the wire can carry.
    #[must_use]
    pub fn successor(self) -> Option<Self> {
        let index = self.index.checked_add(1)?;
        Some(Self { index, ..self })
    }

    /// Gives the first place of the next epoch, where a re-seeding grant leads; `None` past the last epoch.
    #[must_use]
    pub fn reseeded(self) -> Option<Self> {
        let epoch = self.epoch.checked_add(1)?;
        Some(Self { epoch, index: 0 })
    }
}

impl Confirm {
    /// Gives the moment that moves the index.
    #[must_use]
    pub fn moment(self) -> Moment {
        match self {
            Self::Decrypted => Moment::Decrypted,
            Self::Installed | Self::Both => Moment::Installed,
        }
    }

    /// Gives the number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Decrypted => 1,
            Self::Installed => 2,
            Self::Both => 3,
        }
    }

    /// Reads the number on the wire; `None` past 1 to 3.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Decrypted, Self::Installed, Self::Both].into_iter().find(|confirm| confirm.number() == number)
    }
}

impl Moment {
    /// Gives the number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Decrypted => 1,
            Self::Installed => 2,
            Self::Failed => 3,
        }
    }

    /// Reads the number on the wire; `None` past 1 to 3.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Decrypted, Self::Installed, Self::Failed].into_iter().find(|moment| moment.number() == number)
    }
}

/// Most grants kept per identity. Each failed update leaves one; past this the oldest that is not open is
/// forgotten. About 500 bytes each, so 16 KiB per identity at worst.
pub const GRANTS_MAX: usize = 32;

/// Most reports kept per identity: two per update over a chain of 512 updates. Past this the oldest is forgotten,
/// and a repetition of it gets a new receipt. About 250 bytes each.
pub const REPORTS_MAX: usize = 1024;

/// Most manifests that an operator may have reissued to an identity at a time: as many as a device has in hand.
pub const REISSUES_MAX: usize = 8;

/// Most "prove" verdicts that are out per identity: rows 3, 13 and 14 for a device and one clone of it. Past this
/// the answer is "later", which is the rate limit of row 14.
pub const PROVES_MAX: usize = 4;
