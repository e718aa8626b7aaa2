//! The bytes of a manifest and its envelope.

use super::text as texts;
use super::{ClassImage, ManifestDraft, Profile, Severing};
use crate::cose::structure::wrapped_digest;
use crate::definition;
use crate::envelope::ENVELOPE_TAG;
use crate::manifest::parameter::{CHARACTERISTICS, FETCH_ARGUMENTS};
use crate::manifest::{COMMON, PAYLOAD_FETCH, SHA_256, TEXT, VALIDATE};
use crate::version;
use alloc::vec::Vec;
use minicbor::Encoder;
use minicbor::data::Tag;

type Bytes = Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// A manifest with what was severed from it.
pub(super) struct Parts {
    manifest: Vec<u8>,
    severed: Vec<(i64, Vec<u8>)>,
}

/// Directive that chooses the components that commands are for.
const SET_COMPONENT_INDEX: u8 = 12;

// Policies: what a device must put on record. 15 everything, 2 a failure.
const RECORD_ALL: u64 = 15;
const RECORD_FAILURE: u64 = 2;

/// Encoded bytes above which an element is severed: the digest that stands for it, with its heads.
const DIGEST_BYTES: usize = 4 + 32;

pub(super) fn manifest(draft: &ManifestDraft) -> Parts {
    let version = draft.version.as_ref().map(|version| (TEXT, texts::encode(&draft.component, version)));
    let mut elements = Vec::from([(PAYLOAD_FETCH, payload_fetch(draft))]);
    elements.extend(version);
    let is_severed = |element: &[u8]| draft.severing == Severing::WhenLarger && element.len() > DIGEST_BYTES;
    let manifest = written(|encoder| {
        encoder.map(5 + elements.len() as u64)?;
        encoder.u8(1)?.u8(1)?.u8(2)?.u64(draft.sequence_number)?;
        encoder.i64(COMMON)?.bytes(&written(|encoder| common(encoder, draft)))?;
        encoder.u8(4)?.str(&draft.reference_uri)?;
        encoder.i64(VALIDATE)?.bytes(&validate(draft))?;
        for (key, element) in &elements {
            encoder.i64(*key)?;
            if is_severed(element) {
                encoder.array(2)?.i64(SHA_256)?.bytes(&wrapped_digest(element))?;
            } else {
                encoder.bytes(element)?;
            }
        }
        Ok(())
    });
    elements.retain(|(_, element)| is_severed(element));
    Parts { manifest, severed: elements }
}

impl Parts {
    /// Writes the envelope without an authentication block.
    pub(super) fn envelope(&self) -> Vec<u8> {
        let digest = encoded_digest(&wrapped_digest(&self.manifest));
        let authentication = written(|encoder| {
            encoder.array(1)?.bytes(&digest)?;
            Ok(())
        });
        written(|encoder| {
            encoder.tag(Tag::new(ENVELOPE_TAG))?.map(2 + self.severed.len() as u64)?;
            encoder.u8(2)?.bytes(&authentication)?.u8(3)?.bytes(&self.manifest)?;
            for (key, element) in &self.severed {
                encoder.i64(*key)?.bytes(element)?;
            }
            Ok(())
        })
    }
}

fn common(encoder: &mut Bytes, draft: &ManifestDraft) -> Written {
    encoder.map(2)?.u8(2)?.array(1 + draft.further.len() as u64)?;
    texts::write_component(encoder, &draft.component)?;
    for further in &draft.further {
        texts::write_component(encoder, &further.component)?;
    }
    encoder.u8(4)?;
    bytes(encoder, &shared(draft))
}

/// Vendor first, then the classes: one alone stands in line, several are tried one after the other.
fn shared(draft: &ManifestDraft) -> Vec<u8> {
    let mut commands = Commands::new();
    commands.choose_all(draft);
    commands.set(&[(1, &|encoder| bytes(encoder, &draft.vendor))]);
    commands.condition(1);
    if !draft.further.is_empty() {
        commands.choose(0);
    }
    commands.one_of(&draft.classes, Commands::class_image);
    for (index, further) in (1..).zip(&draft.further) {
        commands.choose(index);
        commands.one_of(&further.classes, Commands::class_image);
    }
    if !draft.devices.is_empty() || draft.use_before.is_some() || draft.priority.is_some() {
        commands.choose_all(draft);
    }
    if !draft.devices.is_empty() {
        commands.one_of(&draft.devices, Commands::device);
    }
    if let Some(time) = draft.use_before {
        commands.set(&[(4, &|encoder| uint(encoder, time))]);
        commands.condition(4);
    }
    if let Some(priority) = draft.priority {
        commands.set(&[(27, &|encoder| encoder.i64(priority).map(drop))]);
    }
    commands.into_sequence()
}

fn payload_fetch(draft: &ManifestDraft) -> Vec<u8> {
    let definition = definition::encode(&draft.definition);
    let identifier: Parameter<'_> = (21, &|encoder| text(encoder, &draft.request_identifier));
    let mut commands = Commands::new();
    commands.choose_all(draft);
    match draft.profile {
        Profile::Private => {
            commands.set(&[identifier, (CHARACTERISTICS, &|encoder| bytes(encoder, &definition))]);
        }
        Profile::FetchArguments => {
            let arguments = definition::encode_fetch_arguments(&definition);
            commands.set(&[identifier, (FETCH_ARGUMENTS, &|encoder| bytes(encoder, &arguments))]);
        }
        Profile::Query => {
            let uri = definition::with_query(&draft.request_identifier, &definition);
            commands.set(&[(21, &|encoder| text(encoder, &uri))]);
        }
    }
    commands.add(21, |encoder| uint(encoder, RECORD_FAILURE));
    commands.condition(3);
    commands.into_sequence()
}

fn validate(draft: &ManifestDraft) -> Vec<u8> {
    let mut commands = Commands::new();
    commands.choose_all(draft);
    commands.condition(3);
    commands.into_sequence()
}

/// A label, and what writes the value.
type Parameter<'a> = (i64, &'a dyn Fn(&mut Bytes) -> Written);

/// A sequence in the making: its array head counts what was added.
struct Commands {
    encoded: Vec<u8>,
    count: u64,
}

impl Commands {
    const fn new() -> Self {
        Self { encoded: Vec::new(), count: 0 }
    }

    fn add(&mut self, label: u8, argument: impl FnOnce(&mut Bytes) -> Written) {
        self.encoded.extend(written(|encoder| {
            encoder.u8(label)?;
            argument(encoder)
        }));
        self.count += 1;
    }

    /// Lets the commands that follow be for one component.
    fn choose(&mut self, index: u64) {
        self.add(SET_COMPONENT_INDEX, |encoder| uint(encoder, index));
    }

    /// Lets the commands that follow be for all components; a single one is chosen from the start.
    fn choose_all(&mut self, draft: &ManifestDraft) {
        if !draft.further.is_empty() {
            self.add(SET_COMPONENT_INDEX, |encoder| encoder.bool(true).map(drop));
        }
    }

    fn condition(&mut self, label: u8) {
        self.add(label, |encoder| uint(encoder, RECORD_ALL));
    }

    fn set(&mut self, parameters: &[Parameter<'_>]) {
        self.add(20, |encoder| {
            encoder.map(parameters.len() as u64)?;
            for (label, value) in parameters {
                encoder.i64(*label)?;
                value(encoder)?;
            }
            Ok(())
        });
    }

    /// One choice stands in line; of several the first is taken whose condition is fulfilled.
    fn one_of<T>(&mut self, choices: &[T], write: impl Fn(&mut Self, &T)) {
        if let [choice] = choices {
            return write(self, choice);
        }
        self.add(15, |encoder| {
            encoder.array(choices.len() as u64)?;
            for choice in choices {
                let mut commands = Self::new();
                write(&mut commands, choice);
                encoder.bytes(&commands.into_sequence())?;
            }
            Ok(())
        });
    }

    /// A branch that is not taken leaves nothing behind but the class that it asked for.
    fn class_image(&mut self, class: &ClassImage) {
        self.set(&[(2, &|encoder| bytes(encoder, &class.class))]);
        self.condition(2);
        let digest: Parameter<'_> = (3, &|encoder| bytes(encoder, &encoded_digest(&class.digest)));
        let size: Parameter<'_> = (14, &|encoder| uint(encoder, class.size));
        let Some(numbers) = &class.version else {
            return self.set(&[digest, size]);
        };
        let stated = written(|encoder| version::write_stated(encoder, numbers.iter().copied()));
        self.set(&[digest, size, (28, &|encoder| bytes(encoder, &stated))]);
    }

    fn device(&mut self, device: &[u8; 16]) {
        self.set(&[(24, &|encoder| bytes(encoder, device))]);
        self.condition(24);
    }

    fn into_sequence(self) -> Vec<u8> {
        let mut sequence = written(|encoder| encoder.array(2 * self.count).map(drop));
        sequence.extend(self.encoded);
        sequence
    }
}

fn bytes(encoder: &mut Bytes, value: &[u8]) -> Written {
    encoder.bytes(value).map(drop)
}

fn text(encoder: &mut Bytes, value: &str) -> Written {
    encoder.str(value).map(drop)
}

fn uint(encoder: &mut Bytes, value: u64) -> Written {
    encoder.u64(value).map(drop)
}

fn encoded_digest(digest: &[u8; 32]) -> Vec<u8> {
    written(|encoder| {
        encoder.array(2)?.i64(SHA_256)?.bytes(digest)?;
        Ok(())
    })
}

/// Runs a writer on a new vector, which takes everything.
pub(super) fn written(write: impl FnOnce(&mut Bytes) -> Written) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    match write(&mut encoder) {
        Ok(()) => encoder.into_writer(),
        Err(_) => Vec::new(),
    }
}
