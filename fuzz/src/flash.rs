//! What a device keeps: the record and the boot state of every version, in whole, torn and damaged copies.

use core::fmt;

use bellwether_agent::platform::{Flash, Region};
use bellwether_agent::update::boot::BootStore;
use bellwether_agent::update::journal::{COPY_BYTES_MAX, Journal};
use bellwether_agent::update::record::{Record, RecordStore};
use bellwether_keys::{ChainLength, Seed};

use crate::input::{Input, counted};
use crate::vector;

/// One region of a flash, in memory.
struct Memory(Vec<u8>);

/// The range lies outside of the region.
#[derive(Debug)]
struct Outside;

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outside of the flash")
    }
}

impl core::error::Error for Outside {}

impl Memory {
    fn erased() -> Self {
        Self(vec![0xff; 2 * COPY_BYTES_MAX])
    }

    fn range(&mut self, offset: u32, length: usize) -> Result<&mut [u8], Outside> {
        let start = offset as usize;
        self.0.get_mut(start..start + length).ok_or(Outside)
    }
}

impl Flash for Memory {
    type Error = Outside;

    fn bytes(&self, _: Region) -> u32 {
        u32::try_from(self.0.len()).expect("short")
    }

    fn read(&mut self, _: Region, offset: u32, into: &mut [u8]) -> Result<(), Outside> {
        into.copy_from_slice(self.range(offset, into.len())?);
        Ok(())
    }

    fn write(&mut self, _: Region, offset: u32, from: &[u8]) -> Result<(), Outside> {
        self.range(offset, from.len())?.copy_from_slice(from);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Outside> {
        Ok(())
    }
}

/// A copy with a right checksum around any body.
fn copy_of(region: Region, body: &[u8]) -> Option<Memory> {
    let mut flash = Memory::erased();
    Journal::new(region).store(&mut flash, body).ok()?;
    Some(flash)
}

/// Any body of a record: what is read is kept as the same, in today's version.
pub(crate) fn record(data: &[u8]) {
    let Some(mut flash) = copy_of(Region::Record, data) else { return };
    let Ok(read) = RecordStore::new().load(&mut flash) else { return };
    let mut store = RecordStore::new();
    store.load(&mut flash).expect("it was read before");
    store.save(&mut flash, &read).expect("what was read fits its copy");
    let again = RecordStore::new().load(&mut flash).expect("what was written can be read");
    assert_eq!(again, read);
    let shown = format!("{read:?}");
    assert!(!shown.contains(&format!("{:?}", read.seed.expose())), "the seed is not shown");
}

fn body_of(flash: &mut Memory, region: Region) -> Vec<u8> {
    let mut body = [0; COPY_BYTES_MAX];
    let length = Journal::new(region).load(flash, &mut body).expect("inside").expect("whole");
    body[..length].to_vec()
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let first = vector::file("client-agent/src/update/record/vectors/version-1.cbor");
    let mut flash = Memory::erased();
    let factory = Record::factory(1, Seed::new([3; 32]), ChainLength::DEFAULT, 1_700_000_000);
    RecordStore::new().save(&mut flash, &factory).expect("it fits");
    let factory = body_of(&mut flash, Region::Record);
    // The first version in today's form: a grant being fetched, and two reports.
    let mut flash = copy_of(Region::Record, &first).expect("it fits");
    let mut store = RecordStore::new();
    let old = store.load(&mut flash).expect("version 1 is read");
    store.save(&mut flash, &old).expect("it fits");
    vec![body_of(&mut flash, Region::Record), first, factory]
}

/// Any body of a boot state.
pub(crate) fn boot(data: &[u8]) {
    let Some(mut flash) = copy_of(Region::Boot, data) else { return };
    let Ok(read) = BootStore::new().load(&mut flash) else { return };
    let _ = [0, 1, 2].map(|component| read.image(component, read.chosen(component)).is_some());
    BootStore::new().save(&mut flash, &read).expect("what was read fits its copy");
    let again = BootStore::new().load(&mut flash).expect("what was written can be read");
    assert_eq!(again, read);
}

pub(crate) fn boot_seeds() -> Vec<Vec<u8>> {
    use bellwether_agent::update::boot::{BootState, ComponentSet, Image, Slot, Trial};
    use bellwether_agent::update::bounded::Bounded;
    let image = |byte| Image {
        digest: [byte; 32],
        bytes: 40_000,
        version: Bounded::copy_of(b"1.2.3").expect("short"),
    };
    let one = BootState::factory([image(1)]);
    let mut two = BootState::factory([image(1), image(2)]);
    two.set_image(0, Slot::B, Some(image(3)));
    two.set_image(1, Slot::B, Some(image(4)));
    let components = ComponentSet::NONE.with(0).with(1);
    let pending = Trial::Pending { grant: 7, attempts: 1, components };
    let states = [
        one,
        BootState { trial: pending, ..two.clone() },
        BootState { trial: Trial::Failed { grant: u64::MAX }, ..two },
    ];
    let body = |state: &BootState| {
        let mut flash = Memory::erased();
        BootStore::new().save(&mut flash, state).expect("it fits");
        body_of(&mut flash, Region::Boot)
    };
    states.iter().map(body).collect()
}

/// Two copies of anything, and damage: what counts is a copy that was written, the newest that is whole.
pub(crate) fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    let mut flash = Memory::erased();
    let mut journal = Journal::new(Region::Record);
    let mut stored: Vec<Vec<u8>> = Vec::new();
    let mut body = [0; COPY_BYTES_MAX];
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 4 {
            0 | 1 => {
                let next = input.counted();
                if journal.store(&mut flash, next).is_ok() {
                    stored.push(next.to_vec());
                }
            }
            2 => {
                let (at, bytes) = (usize::from(input.u16()) % flash.0.len(), input.counted());
                let end = (at + bytes.len()).min(flash.0.len());
                flash.0[at..end].copy_from_slice(&bytes[..end - at]);
            }
            _ => {
                journal = Journal::new(Region::Record);
                let _ = journal.load(&mut flash, &mut body);
            }
        }
    }
    let loaded = Journal::new(Region::Record).load(&mut flash, &mut body).expect("inside");
    if let Some(length) = loaded {
        assert!(length <= COPY_BYTES_MAX);
    }
    // Without damage the newest one counts.
    if !data.is_empty() && data[0] % 4 < 2 {
        let mut flash = Memory::erased();
        let mut journal = Journal::new(Region::Record);
        for body in &stored {
            journal.store(&mut flash, body).expect("it fitted before");
        }
        if let Some(newest) = stored.last() {
            assert_eq!(&body_of(&mut flash, Region::Record), newest);
        }
    }
}

pub(crate) fn journal_seeds() -> Vec<Vec<u8>> {
    let record = vector::file("client-agent/src/update/record/vectors/version-1.cbor");
    let store = |body: &[u8]| [&[0][..], &counted(body)].concat();
    let damage = |at: u16, bytes: &[u8]| [&[2][..], &at.to_be_bytes(), &counted(bytes)].concat();
    vec![
        [store(b"one"), store(b"two"), damage(4096, b"\0"), vec![3], store(b"three")].concat(),
        [store(&record), vec![3], store(&record), damage(9, b"x")].concat(),
    ]
}

/// Steps of one run: enough to write each copy several times.
const OPERATIONS_MAX: usize = 16;
