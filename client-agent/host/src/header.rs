//! What the factory writes beside the regions: unit data and what the device is.

use bellwether_agent::keys::unit::{UnitData, UnitError};
use bellwether_agent::update::facts::COMPONENTS_MAX;
use minicbor::{Decoder, Encoder};
use thiserror::Error;
use zeroize::Zeroizing;

/// Unit data and what the device is.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Header {
    /// The unit file as the server wrote it, but for the seed, which is in the record alone; holds the DTLS credential.
    pub(crate) unit: Zeroizing<Vec<u8>>,
    /// Vendor's domain name.
    pub(crate) vendor: String,
    /// Class of the device, as the vendor names it.
    pub(crate) class: String,
    /// How its images run.
    pub(crate) kind: Kind,
    /// Its components, each with a pair of slots: 1 to [`COMPONENTS_MAX`].
    pub(crate) components: Vec<Component>,
    /// Patch algorithms that it applies; empty: full images only.
    pub(crate) patch_algorithms: Vec<i32>,
    /// Seconds since 1970 at which the flash was made: no earlier time is ever believed.
    pub(crate) made: u64,
}

/// A component and the room for its images.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Component {
    /// Its name, the only part of its identifier in manifests.
    pub(crate) name: String,
    /// Bytes of each of its two slots.
    pub(crate) slot_bytes: u32,
}

impl Component {
    /// Gives its identifier as in a manifest, encoded: an array of one byte string.
    #[must_use]
    pub(crate) fn id(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        // Writing into a vector cannot fail.
        let _ = e.array(1).and_then(|e| e.bytes(self.name.as_bytes()));
        e.into_writer()
    }
}

/// How images of the device run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// As a program of this machine; its self-test is `IMAGE --self-test`.
    Linux,
    /// Not here; its self-test is the digest.
    Microcontroller,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum HeaderError {
    /// The file begins differently.
    #[error("it does not begin as a flash file does")]
    Magic,
    /// The header's CBOR is damaged.
    #[error("its header is damaged")]
    Damaged,
}

impl Header {
    /// Writes the header.
    #[must_use]
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it, so that no copy of the seed is left behind by growing.
        let names: usize = self.components.iter().map(|component| component.name.len() + 16).sum();
        let texts = self.vendor.len() + self.class.len() + names;
        let mut bytes = Vec::with_capacity(self.unit.len() + texts + 64);
        let mut e = Encoder::new(&mut bytes);
        let written = (|| {
            let alone = self.only_app();
            e.array(if alone.is_some() { FIELDS_OF_APP } else { FIELDS })?.bytes(&self.unit)?;
            e.str(&self.vendor)?.str(&self.class)?.bool(self.kind == Kind::Linux)?;
            e.u32(alone.unwrap_or_default())?.encode(&self.patch_algorithms)?.u64(self.made)?;
            if alone.is_none() {
                e.array(self.components.len() as u64)?;
                for component in &self.components {
                    e.array(2)?.str(&component.name)?.u32(component.slot_bytes)?;
                }
            }
            e.ok()
        })();
        let Ok::<(), minicbor::encode::Error<core::convert::Infallible>>(()) = written else {
            return Zeroizing::default();
        };
        Zeroizing::new(bytes)
    }

    /// Bytes of a slot of a device with the component `app` alone: its header is that of the first programs, and it has
    /// as many bytes as theirs when it is written over one.
    fn only_app(&self) -> Option<u32> {
        match self.components.as_slice() {
            [Component { name, slot_bytes }] if name == APP => Some(*slot_bytes),
            _ => None,
        }
    }

    /// Overwrites the seed in the unit file; false where that was done before.
    ///
    /// The record holds the seed that counts. A second one here would outlive re-seeding, and open all of the epoch
    /// that it was to end.
    ///
    /// # Errors
    ///
    /// [`UnitError`] if there is no unit file in it.
    pub(crate) fn forget_seed(&mut self) -> Result<bool, UnitError> {
        let seed = UnitData::decode(&self.unit)?.seed;
        if *seed.expose() == GONE {
            return Ok(false);
        }
        while let Some(at) = self.unit.windows(GONE.len()).position(|window| window == seed.expose()) {
            self.unit[at..at + GONE.len()].copy_from_slice(&GONE);
        }
        Ok(true)
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Damaged`] for anything that [`Header::encode`] does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::read(bytes).ok_or(HeaderError::Damaged)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        let fields = d.array().ok()??;
        if ![FIELDS, FIELDS_OF_APP].contains(&fields) {
            return None;
        }
        let mut header = Self {
            unit: Zeroizing::new(d.bytes().ok()?.to_vec()),
            vendor: d.str().ok()?.to_owned(),
            class: d.str().ok()?.to_owned(),
            kind: if d.bool().ok()? { Kind::Linux } else { Kind::Microcontroller },
            components: vec![Component { name: APP.to_owned(), slot_bytes: d.u32().ok()? }],
            patch_algorithms: d.decode().ok()?,
            made: d.u64().ok()?,
        };
        if fields == FIELDS {
            header.components.clear();
            for _ in 0..d.array().ok()?? {
                let fields = d.array().ok()??;
                let component = Component { name: d.str().ok()?.to_owned(), slot_bytes: d.u32().ok()? };
                header.components.push(component);
                (fields == 2 && header.components.len() <= COMPONENTS_MAX).then_some(())?;
            }
        }
        (d.position() == bytes.len() && !header.components.is_empty()).then_some(header)
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("class", &self.class).finish_non_exhaustive()
    }
}

const FIELDS: u64 = 8;
const FIELDS_OF_APP: u64 = 7;

/// Name of the component that every device has, unless it was told otherwise.
pub(crate) const APP: &str = "app";

/// What stands where the seed was.
const GONE: [u8; 32] = [0; 32];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn header() -> Header {
        Header {
            unit: Zeroizing::new(vec![7; 300]),
            vendor: "example.com".to_owned(),
            class: "lamp".to_owned(),
            kind: Kind::Linux,
            components: vec![Component { name: APP.to_owned(), slot_bytes: 4096 }],
            patch_algorithms: vec![-1],
            made: 1_800_000_000,
        }
    }

    pub(crate) fn with_radio() -> Header {
        let components = [("app", 4096), ("radio", 8192)];
        let components = components.map(|(name, slot_bytes)| Component { name: name.to_owned(), slot_bytes });
        Header { components: components.into(), ..header() }
    }

    #[test]
    fn header_comes_back_from_its_bytes() {
        assert_eq!(Header::decode(&header().encode()), Ok(header()));
        assert_eq!(Header::decode(&with_radio().encode()), Ok(with_radio()));
    }

    #[test]
    fn component_is_named_as_in_a_manifest() {
        assert_eq!(header().components[0].id(), b"\x81\x43app");
    }

    /// A unit file of version 1, with a seed of nines and a DTLS key of eights.
    pub(crate) fn unit_file() -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        e.array(9).unwrap().u8(1).unwrap().str("lamp-1").unwrap().u8(0).unwrap().u16(1024).unwrap();
        e.bytes(&[9; 32]).unwrap().bytes(b"anchors").unwrap().str("lamp-1").unwrap().bytes(&[8; 32]).unwrap();
        e.array(1).unwrap().str("coaps://localhost").unwrap();
        e.into_writer()
    }

    #[test]
    fn seed_is_taken_out_of_the_unit_file_and_nothing_else() {
        let mut header = Header { unit: Zeroizing::new(unit_file()), ..header() };
        assert_eq!(header.forget_seed(), Ok(true));
        let seedless: Vec<u8> = unit_file().iter().map(|byte| if *byte == 9 { 0 } else { *byte }).collect();
        let head = [0x89, 1, 0x66];
        assert!(header.unit.starts_with(&head) && unit_file().starts_with(&head));
        assert_eq!(header.unit[3..], seedless[3..]);
        assert_eq!(header.forget_seed(), Ok(false));
        let unit = UnitData::decode(&header.unit).unwrap();
        assert_eq!((unit.id, unit.dtls_psk, unit.anchors), ("lamp-1", &[8; 32], b"anchors".as_slice()));
    }

    #[test]
    fn printed_header_shows_no_unit_data() {
        assert_eq!(format!("{:?}", header()), r#"Header { class: "lamp", .. }"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Header::decode(&bytes);
        }

        #[test]
        fn changed_header_is_refused_or_read_as_what_it_is(
            two in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let mut bytes = if two { with_radio().encode() } else { header().encode() }.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(mut read) = Header::decode(&bytes) {
                prop_assert!((1..=COMPONENTS_MAX).contains(&read.components.len()));
                prop_assert_eq!(&Header::decode(&read.encode()).unwrap(), &read);
                // Its unit file is as hostile.
                let _ = read.forget_seed();
            }
        }
    }
}
