//! Collects the answers that a manifest asks for.
//!
//! Stable answers form the selector, volatile ones travel beside it. All stable ones can be told ahead, so that a
//! grant can be made before the device asks: they are encoded by the same code.
//!
//! Source: protocol.md §2, step 1.

use super::boot::Image;
use super::bounded::Bounded;
use super::facts::{COMPONENTS_MAX, Facts};
use bellwether_manifests::cbor::{self, EncodeError, Full, Sink};
use bellwether_manifests::definition::{self, DEFINITION_BYTES_MAX, Item, Method};
use bellwether_manifests::message::selector::salted_digest;
use bellwether_manifests::message::{Answers, Digest, List, ScopeAnswers, Selector, StableAnswers};
use bellwether_manifests::report::Reason;
use bellwether_manifests::run::ComponentPlan;
use bellwether_manifests::version;
use minicbor::Encoder;

/// Answers of this device, by scope.
#[derive(Debug)]
pub struct Collected {
    scopes: [Span; SCOPES_MAX],
    scope_count: usize,
    entries: [Option<Entry>; ANSWERS_MAX],
    entry_count: usize,
}

/// What answers come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What the device is.
    pub facts: &'a Facts<'a>,
    /// What each of its components holds.
    pub held: [Held<'a>; COMPONENTS_MAX],
    /// Index in the manifest of each component.
    pub indices: [Option<u32>; COMPONENTS_MAX],
}

/// What a component holds.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// What runs.
    pub running: &'a Image,
    /// Bytes of the spare slot.
    pub slot_bytes: u32,
}

impl<'a> Source<'a> {
    /// Components under their own numbers, as they are told where no manifest asks.
    #[must_use]
    pub fn ahead(facts: &'a Facts<'a>, held: [Held<'a>; COMPONENTS_MAX]) -> Self {
        let mut indices = [None; COMPONENTS_MAX];
        for (number, index) in (0..).zip(&mut indices).take(facts.components.len()) {
            *index = Some(number);
        }
        Self { facts, held, indices }
    }

    /// What the component with this index holds; `None` for none of this device.
    fn held(&self, index: u32) -> Option<Held<'a>> {
        let number = self.indices.iter().position(|known| *known == Some(index))?;
        Some(self.held[number])
    }

    /// Bytes of the largest spare slot: what one image of this device may have at most.
    fn slot_bytes_max(&self) -> u32 {
        self.held.iter().map(|held| held.slot_bytes).max().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    component: Option<u32>,
    start: usize,
    end: usize,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    value: Bounded<VALUE_BYTES_MAX>,
}

/// Answers the definition of a manifest.
///
/// # Errors
///
/// The reason for the report, where a required answer or an option is unknown here. A manifest without a definition
/// has nothing that a grant could be bound to, and is refused as well.
pub fn collect(
    component: &ComponentPlan<'_>,
    manifest: &Digest,
    source: &Source<'_>,
) -> Result<Collected, Reason> {
    let mut scratch = [0; DEFINITION_BYTES_MAX];
    let definition = component.definition(&mut scratch).map_err(|error| error.reason())?;
    let definition = definition.ok_or(Reason::ParameterUnsupported)?;
    if definition.options().authentication == Some(SIGN1) {
        return Err(Reason::AlgorithmUnsupported);
    }
    let mut collected = Collected::EMPTY;
    for scope in definition.scopes() {
        let component = match scope.component {
            None => None,
            Some(index) => Some(u32::try_from(index).map_err(|_| Reason::ComponentUnsupported)?),
        };
        let start = collected.entry_count;
        for item in scope.items() {
            collected.add(component, item, manifest, source)?;
        }
        collected.end_scope(component, start)?;
    }
    Ok(collected)
}

/// Writes everything stable that the device can state into `out`, and gives its length.
///
/// # Errors
///
/// [`EncodeError::Space`] where `out` is smaller than [`STABLE_BYTES_MAX`].
pub fn write_stable(source: &Source<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let mut collected = Collected::EMPTY;
    for (component, ids) in stable_scopes(source) {
        let start = collected.entry_count;
        for id in ids {
            if let Some(value) = answer(component, *id, source) {
                collected.push(Entry { id: *id, value }).map_err(|_| EncodeError::Invalid)?;
            }
        }
        collected.end_scope(component, start).map_err(|_| EncodeError::Invalid)?;
    }
    let sorted = Sorted::of(&collected, false);
    let mut scopes = [ScopeAnswers { component: None, answers: Answers::default() }; 1 + COMPONENTS_MAX];
    for (index, (component, _)) in stable_scopes(source).enumerate() {
        scopes[index] = ScopeAnswers { component, answers: sorted.answers(index)? };
    }
    cbor::write_into(&StableAnswers { scopes: List::new(&scopes[..collected.scope_count]) }, out)
}

impl Collected {
    const EMPTY: Self = Self {
        scopes: [Span { component: None, start: 0, end: 0 }; SCOPES_MAX],
        scope_count: 0,
        entries: [const { None }; ANSWERS_MAX],
        entry_count: 0,
    };

    /// Gives the selector and the volatile answers to `build`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] where the answers break a bound of the message.
    pub fn with_messages<T>(
        &self,
        manifest: &Digest,
        build: impl FnOnce(Selector<'_>, List<'_, ScopeAnswers<'_>>) -> T,
    ) -> Result<T, EncodeError> {
        let (stable, volatile) = (Sorted::of(self, false), Sorted::of(self, true));
        let mut selector = [ScopeAnswers { component: None, answers: Answers::default() }; SCOPES_MAX];
        let mut beside = selector;
        let mut beside_count = 0;
        for (index, span) in self.scopes[..self.scope_count].iter().enumerate() {
            selector[index] = ScopeAnswers { component: span.component, answers: stable.answers(index)? };
            let answers = volatile.answers(index)?;
            if !answers.is_empty() {
                beside[beside_count] = ScopeAnswers { component: span.component, answers };
                beside_count += 1;
            }
        }
        let scopes = List::new(&selector[..self.scope_count]);
        Ok(build(Selector { manifest, scopes }, List::new(&beside[..beside_count])))
    }

    fn add(
        &mut self,
        component: Option<u32>,
        item: Item,
        manifest: &Digest,
        source: &Source<'_>,
    ) -> Result<(), Reason> {
        let Some(value) = answer(component, item.id, source) else {
            return if item.required { Err(Reason::ParameterUnsupported) } else { Ok(()) };
        };
        let value = match item.method {
            Method::Raw => Some(value),
            Method::Digest => encoded(&|e| {
                e.bytes(&salted_digest(manifest, item.id, value.as_slice()))?;
                Ok(())
            }),
        };
        let value = value.ok_or(Reason::ParameterUnsupported)?;
        self.push(Entry { id: item.id, value })
    }

    fn push(&mut self, entry: Entry) -> Result<(), Reason> {
        let slot = self.entries.get_mut(self.entry_count).ok_or(Reason::ParameterUnsupported)?;
        *slot = Some(entry);
        self.entry_count += 1;
        Ok(())
    }

    /// Ends the scope whose answers began at `start`.
    fn end_scope(&mut self, component: Option<u32>, start: usize) -> Result<(), Reason> {
        let scope = self.scopes.get_mut(self.scope_count).ok_or(Reason::ParameterUnsupported)?;
        *scope = Span { component, start, end: self.entry_count };
        self.scope_count += 1;
        Ok(())
    }
}

/// Entries of all scopes that are volatile, or that are not, in the order of the scopes.
struct Sorted<'a> {
    entries: [(i64, &'a [u8]); ANSWERS_MAX],
    ends: [usize; SCOPES_MAX],
}

impl<'a> Sorted<'a> {
    fn of(collected: &'a Collected, volatile: bool) -> Self {
        let mut sorted = Self { entries: [(0, &[]); ANSWERS_MAX], ends: [0; SCOPES_MAX] };
        let mut count = 0;
        for (index, span) in collected.scopes[..collected.scope_count].iter().enumerate() {
            let entries = collected.entries[span.start..span.end].iter().flatten();
            for entry in entries.filter(|entry| definition::is_volatile(entry.id) == volatile) {
                sorted.entries[count] = (entry.id, entry.value.as_slice());
                count += 1;
            }
            sorted.ends[index] = count;
        }
        sorted
    }

    fn answers(&self, scope: usize) -> Result<Answers<'_>, EncodeError> {
        let start = scope.checked_sub(1).map_or(0, |before| self.ends[before]);
        Answers::new(&self.entries[start..self.ends[scope]]).map_err(|_| EncodeError::Invalid)
    }
}

/// Encodes the answer to one question; `None` where this device has none.
fn answer(component: Option<u32>, id: i64, source: &Source<'_>) -> Option<Bounded<VALUE_BYTES_MAX>> {
    match component {
        None => answer_of_device(id, source),
        Some(index) => answer_of_component(id, &source.held(index)?),
    }
}

fn answer_of_device(id: i64, source: &Source<'_>) -> Option<Bounded<VALUE_BYTES_MAX>> {
    let facts = source.facts;
    match id {
        definition::VENDOR_ID => encoded(&|e| e.bytes(&facts.vendor).map(drop)),
        definition::CLASS_ID => encoded(&|e| e.bytes(&facts.class).map(drop)),
        definition::FREE_STAGING_BYTES => encoded(&|e| e.u32(source.slot_bytes_max()).map(drop)),
        BLOCK_BYTES => encoded(&|e| e.u16(BLOCK_BYTES_MAX).map(drop)),
        definition::PATCH_ALGORITHMS if !facts.patch_algorithms.is_empty() => wrapped(&|e| {
            e.array(facts.patch_algorithms.len() as u64)?;
            facts.patch_algorithms.iter().try_for_each(|algorithm| e.i32(*algorithm).map(drop))
        }),
        _ => None,
    }
}

fn answer_of_component(id: i64, held: &Held<'_>) -> Option<Bounded<VALUE_BYTES_MAX>> {
    let running = held.running;
    match id {
        definition::IMAGE_DIGEST => wrapped(&|e| e.array(2)?.i64(SHA_256)?.bytes(&running.digest).map(drop)),
        IMAGE_SIZE => encoded(&|e| e.u32(running.bytes).map(drop)),
        definition::FREE_STAGING_BYTES => encoded(&|e| e.u32(held.slot_bytes).map(drop)),
        definition::VERSION => {
            let numbers = version::numbers(running.version_text())?;
            wrapped(&|e| version::write_stated(e, numbers.clone()))
        }
        _ => None,
    }
}

type Out<'b> = Encoder<Sink<'b>>;
type Written = Result<(), minicbor::encode::Error<Full>>;

fn encoded(write: &dyn Fn(&mut Out<'_>) -> Written) -> Option<Bounded<VALUE_BYTES_MAX>> {
    let mut bytes = [0; VALUE_BYTES_MAX];
    let mut encoder = Encoder::new(Sink::new(&mut bytes));
    write(&mut encoder).ok()?;
    let length = encoder.writer().written();
    Bounded::copy_of(&bytes[..length])
}

/// Encodes a byte string that holds what `write` writes.
fn wrapped(write: &dyn Fn(&mut Out<'_>) -> Written) -> Option<Bounded<VALUE_BYTES_MAX>> {
    let inner = encoded(write)?;
    encoded(&|e| e.bytes(inner.as_slice()).map(drop))
}

/// Scopes of what is stable: the device, then each component.
fn stable_scopes(source: &Source<'_>) -> impl Iterator<Item = (Option<u32>, &'static [i64])> {
    let components = source.indices.into_iter().flatten();
    core::iter::once((None, STABLE_OF_DEVICE))
        .chain(components.map(|index| (Some(index), STABLE_OF_COMPONENT)))
}

/// The stable answers of this device, and of each of its components; one that it cannot give is left out.
const STABLE_OF_DEVICE: &[i64] =
    &[definition::VENDOR_ID, definition::CLASS_ID, definition::PATCH_ALGORITHMS, BLOCK_BYTES];
const STABLE_OF_COMPONENT: &[i64] = &[definition::IMAGE_DIGEST, IMAGE_SIZE, definition::VERSION];

/// Bytes of the stable answers, with their ids, and heads.
pub const STABLE_BYTES_MAX: usize = (STABLE_OF_DEVICE.len() + COMPONENTS_MAX * STABLE_OF_COMPONENT.len())
    * (VALUE_BYTES_MAX + 3)
    + 4 * (2 + COMPONENTS_MAX);

/// Scopes of a definition that this device answers: the device and its components, twice over.
const SCOPES_MAX: usize = 2 * (1 + COMPONENTS_MAX);

/// Answers in all scopes together: this device knows five of itself and four of each component.
const ANSWERS_MAX: usize = 8 + 4 * COMPONENTS_MAX;

/// Bytes of one encoded answer: a digest with its wrapping has 38.
const VALUE_BYTES_MAX: usize = 64;

/// Bytes of a request of this device: all answers with their ids, heads of the scopes, and what stands around them, which
/// is a name, counter, nonce, fork head and digest, every option, and the MAC.
pub const OWN_REQUEST_BYTES_MAX: usize = ANSWERS_MAX * (VALUE_BYTES_MAX + 3) + SCOPES_MAX * 8 + 640;

/// COSE number of SHA-256.
const SHA_256: i64 = -16;

/// Request authentication by a device key, which this device does not have.
const SIGN1: u64 = 2;

/// Id of the image size.
const IMAGE_SIZE: i64 = 14;

/// Id of the largest block, and its answer: the largest of CoAP.
const BLOCK_BYTES: i64 = -308;
const BLOCK_BYTES_MAX: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Author, facts};
    use bellwether_manifests::author::{ManifestDraft, default_definition};
    use bellwether_manifests::cose::mac0;
    use bellwether_manifests::definition::{Definition, ScopeDraft, encode};
    use bellwether_manifests::envelope::Envelope;
    use bellwether_manifests::message::place::NAME_BYTES_MAX;
    use bellwether_manifests::message::predict::{self, PredictError};
    use bellwether_manifests::message::request::{ECHO_BYTES_MAX, Unconfirmed};
    use bellwether_manifests::message::{self, RequestOptions, UpdateRequest};
    use bellwether_manifests::run::{Identity, update};
    use std::vec;
    use std::vec::Vec;

    fn with_source<T>(version: &str, use_it: impl FnOnce(&Source<'_>) -> T) -> T {
        with_components(crate::update::facts::APP, version, use_it)
    }

    /// Components of which each runs another image.
    fn with_components<T>(components: &[&[u8]], version: &str, use_it: impl FnOnce(&Source<'_>) -> T) -> T {
        let facts = Facts { components, ..facts(&Author::new()) };
        let version = Bounded::copy_of(version.as_bytes()).unwrap();
        let images = [1, 2].map(|number| Image {
            digest: [number; 32],
            bytes: number.into(),
            version: version.clone(),
        });
        let held = core::array::from_fn(|number| Held { running: &images[number], slot_bytes: 7 });
        use_it(&Source::ahead(&facts, held))
    }

    fn version_answer(version: &str) -> Option<Bounded<VALUE_BYTES_MAX>> {
        with_source(version, |source| answer(Some(0), definition::VERSION, source))
    }

    #[test]
    fn request_with_everything_at_its_bound_fits_what_is_meant_for_it() {
        let value: Vec<u8> = [&[0x58, 62][..], &[7; VALUE_BYTES_MAX - 2]].concat();
        let entries: Vec<(i64, &[u8])> =
            (-400..-340).rev().take(ANSWERS_MAX).map(|id| (id, &value[..])).collect();
        let scope = |component, entries| ScopeAnswers { component, answers: Answers::new(entries).unwrap() };
        let (first, second) = entries.split_at(ANSWERS_MAX / 2);
        let mut scopes = vec![scope(None, first), scope(Some(0), second)];
        scopes.extend((1..).take(SCOPES_MAX - 2).map(|component: u32| scope(Some(component << 8), &[])));
        let (digest, key) = ([7; 32], [&[0xa1, 0x20, 0x58, 80][..], &[7; 80]].concat());
        let held = [&digest; COMPONENTS_MAX];
        let options = RequestOptions {
            echo: Some(&[7; ECHO_BYTES_MAX]),
            resume: Some((&digest, u32::MAX)),
            held: Some(List::new(&held)),
            go: Some(u64::MAX),
            share: Some(&key),
            unconfirmed: Some(Unconfirmed { grant: u64::MAX, report: &digest }),
            clock: Some(u64::MAX),
            ..RequestOptions::default()
        };
        let name = "n".repeat(NAME_BYTES_MAX);
        let request = UpdateRequest {
            place: message::Place { id: &name, epoch: u16::MAX, index: u16::MAX },
            counter: u64::MAX,
            fork: &[7; 8],
            nonce: &[7; 8],
            selector: Selector { manifest: &digest, scopes: List::new(&scopes) },
            volatile: List::new(&[]),
            options,
        };
        let bytes = mac0::encoded_len(cbor::encoded_len(&request).unwrap());
        assert!(bytes <= OWN_REQUEST_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn everything_that_is_answered_and_stable_is_told_ahead_byte_for_byte() {
        with_source("1.2.0", |source| {
            let mut bytes = [0; STABLE_BYTES_MAX];
            let length = write_stable(source, &mut bytes).unwrap();
            let told = StableAnswers::decode(&bytes[..length]).unwrap();
            let mut count = 0;
            for component in [None, Some(0), Some(1)] {
                for id in (-512..512).filter(|id| !definition::is_volatile(*id)) {
                    let answered = answer(component, id, source);
                    assert_eq!(told.answer(component, id), answered.as_ref().map(Bounded::as_slice), "{id}");
                    count += usize::from(answered.is_some());
                }
            }
            assert_eq!(count, STABLE_OF_DEVICE.len() + STABLE_OF_COMPONENT.len());
        });
    }

    /// Encodes the selector that the device sends for a definition, and the one that is predicted from what it told.
    fn sent_and_predicted(scopes: Vec<ScopeDraft>) -> (Vec<u8>, Vec<u8>) {
        let draft = ManifestDraft { definition: scopes, ..Author::new().draft(1, b"image") };
        sent_and_predicted_for(crate::update::facts::APP, &draft)
    }

    fn sent_and_predicted_for(components: &[&[u8]], draft: &ManifestDraft) -> (Vec<u8>, Vec<u8>) {
        let author = Author::new();
        let envelope = draft.sign(&author.key).unwrap();
        let manifest = Envelope::parse(&envelope).unwrap().verify(&author.anchors()).unwrap();
        let class = author.class(crate::testing::CLASS);
        let identity = Identity { vendor: &author.vendor, class: &class, device: None, now: 0 };
        let plan = update(&manifest, &identity).unwrap();
        let (_, component) = plan.fetches().next().unwrap();
        with_components(components, "1.2.0", |source| {
            let mut bytes = [0; STABLE_BYTES_MAX];
            let length = write_stable(source, &mut bytes).unwrap();
            let told = StableAnswers::decode(&bytes[..length]).unwrap();
            let mut scratch = [0; DEFINITION_BYTES_MAX];
            let definition = component.definition(&mut scratch).unwrap().unwrap();
            let predicted = predict::selector(&definition, &told, manifest.digest()).unwrap();
            let collected = collect(component, manifest.digest(), source).unwrap();
            let sent = collected.with_messages(manifest.digest(), |selector, _| cbor::to_vec(&selector));
            (sent.unwrap().unwrap(), predicted)
        })
    }

    #[test]
    fn each_component_answers_for_itself_and_as_it_told_ahead() {
        let author = Author::new();
        let draft = author.draft(1, b"image").with(author.radio(b"radio"));
        let (sent, predicted) = sent_and_predicted_for(crate::testing::WITH_RADIO, &draft);
        assert_eq!(sent, predicted);
        for digest in [[1; 32], [2; 32]] {
            assert_eq!(sent.windows(32).filter(|window| *window == digest).count(), 1);
        }
    }

    #[test]
    fn predicted_selector_is_the_one_that_is_sent_byte_for_byte() {
        let hashed = |id| Item { method: Method::Digest, ..Item::required(id) };
        let device = |items| ScopeDraft { component: None, items };
        let component = |items| ScopeDraft { component: Some(0), items };
        let definitions = [
            default_definition(),
            vec![
                component(vec![hashed(definition::IMAGE_DIGEST)]),
                device(vec![hashed(definition::VENDOR_ID)]),
            ],
            vec![device(vec![
                Item::required(BLOCK_BYTES),
                Item::optional(definition::REGION),
                Item::required(definition::FREE_STAGING_BYTES),
                Item::required(definition::CLASS_ID),
            ])],
            vec![device(vec![Item::required(definition::FREE_STAGING_BYTES)])],
        ];
        for scopes in definitions {
            let (sent, predicted) = sent_and_predicted(scopes.clone());
            assert_eq!(sent, predicted, "{scopes:?}");
        }
    }

    #[test]
    fn selector_with_a_required_answer_that_was_not_told_is_not_predicted() {
        let bytes =
            encode(&[ScopeDraft { component: None, items: vec![Item::required(definition::REGION)] }]);
        let definition = Definition::parse(&bytes).unwrap();
        let missing = predict::selector(&definition, &StableAnswers { scopes: List::default() }, &[1; 32]);
        assert_eq!(missing, Err(PredictError::Missing { id: definition::REGION }));
    }

    #[test]
    fn answer_that_the_device_does_not_have_is_not_told_ahead() {
        with_source("no numbers", |source| {
            let mut bytes = [0; STABLE_BYTES_MAX];
            let length = write_stable(source, &mut bytes).unwrap();
            let told = StableAnswers::decode(&bytes[..length]).unwrap();
            assert_eq!(told.answer(Some(0), definition::VERSION), None);
        });
    }

    #[test]
    fn version_is_told_as_the_integers_of_its_text() {
        // Byte string of [3, [1, 2, -1, 3]].
        let told = version_answer("1.2-rc.3");
        assert_eq!(told.unwrap().as_slice(), b"\x47\x82\x03\x84\x01\x02\x20\x03");
    }

    #[test]
    fn version_without_integers_is_not_told() {
        for version in ["", "v1", "meter 1.4, lamp 2.0.0"] {
            assert_eq!(version_answer(version), None, "{version}");
        }
    }
}
