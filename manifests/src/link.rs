//! Between server and gateway: the file that makes a gateway, the list of its devices, and what it tells of them.
//!
//! Deterministic CBOR without signatures: the file comes by a trusted way, the rest through the DTLS session of the
//! two. File and list hold pre-shared keys of *links*: whoever has them can stand between, and open no resource.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

use minicbor::encode::{Encode, Encoder, Error, Write};
#[cfg(feature = "alloc")]
use zeroize::Zeroizing;

#[cfg(feature = "alloc")]
use crate::cbor::{self, EncodeError};
use crate::cbor::{Reader, told};
use crate::message::bundle::{BUNDLE_GRANTS_MAX, CAMPAIGN_BYTES_MAX};
use crate::message::list::{Element, List};
use crate::message::place::NAME_BYTES_MAX;
use crate::message::{MessageError, Part, bound, read_version, refuse, whole};

/// What a gateway is personalised with: `[1, name, psk, [+ server uri], anchors]`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct GatewayUnit<'a> {
    /// Name of the gateway, which is its DTLS identity at the server.
    pub name: &'a str,
    /// Pre-shared key of the link to the server. Secret.
    pub psk: &'a [u8; LINK_PSK_BYTES],
    /// Servers, `coaps://` URIs, in their order.
    pub servers: List<'a, &'a str>,
    /// Encoded `COSE_Sign` over the anchors.
    pub anchors: &'a [u8],
}

/// The devices of a gateway: `[1, edition, [* [endpoint, psk]]]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Children<'a> {
    /// Rises with every change.
    pub edition: u64,
    /// The devices.
    pub children: List<'a, Child<'a>>,
}

/// One device of a gateway.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Child<'a> {
    /// Endpoint name, which is its DTLS identity at the gateway.
    pub endpoint: &'a str,
    /// Pre-shared key of the link between the two. Secret.
    pub psk: &'a [u8; LINK_PSK_BYTES],
}

/// What a gateway has seen of its devices: `[* [campaign, endpoint, what, detail]]`. Nothing proves it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Hints<'a>(pub List<'a, Hint<'a>>);

/// What a gateway has seen of one device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hint<'a> {
    /// Name of the campaign.
    pub campaign: &'a str,
    /// Endpoint name of the device.
    pub endpoint: &'a str,
    /// What was seen.
    pub what: HintKind,
    /// More of it: for a refusal the Update Result as text.
    pub detail: &'a str,
}

/// What was seen. Wire numbers: never reorder.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HintKind {
    /// The device took the manifest.
    Pushed = 1,
    /// The device refused the manifest.
    Refused = 2,
    /// The device could not be reached.
    Unreached = 3,
}

impl<'a> GatewayUnit<'a> {
    /// Reads a gateway's unit file.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let unit = whole(bytes, |reader| {
            reader.array_of(5)?;
            read_version(reader)?;
            Ok(Self {
                name: reader.text()?,
                psk: reader.bytes_exact()?,
                servers: List::read(reader, SERVERS, Part::NumberOfServers)?,
                anchors: reader.bytes()?,
            })
        })?;
        unit.check()?;
        Ok(unit)
    }

    /// Writes a gateway's unit file.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if a reader would refuse it.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        written_once(&UnitFields(self))
    }

    fn check(&self) -> Result<(), MessageError> {
        check_name(self.name)?;
        bound((1..=ANCHORS_BYTES_MAX).contains(&self.anchors.len()), Part::Anchors)?;
        bound(self.servers.iter().all(|server| server.starts_with("coaps://")), Part::Server)
    }
}

impl fmt::Debug for GatewayUnit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayUnit")
            .field("name", &self.name)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl<'a> Children<'a> {
    /// Reads a list of devices; no endpoint may come twice.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let children = whole(bytes, |reader| {
            reader.array_of(3)?;
            read_version(reader)?;
            Ok(Self {
                edition: reader.uint()?,
                children: List::read(reader, CHILDREN, Part::NumberOfChildren)?,
            })
        })?;
        children.check()?;
        Ok(children)
    }

    /// Writes the list in the order of the endpoints as they stand.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if a reader would refuse it.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        written_once(&ChildrenFields(self))
    }

    /// Sorted lists are read and checked in one go, whatever their length.
    fn check(&self) -> Result<(), MessageError> {
        let mut last: Option<&str> = None;
        for child in &self.children {
            bound(last.is_none_or(|last| last < child.endpoint), Part::OrderOfTheChildren)?;
            last = Some(child.endpoint);
        }
        Ok(())
    }
}

impl fmt::Debug for Child<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<'a> Element<'a> for Child<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(2)?;
        let child = Self { endpoint: reader.text()?, psk: reader.bytes_exact()? };
        check_name(child.endpoint)?;
        Ok(child)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        check_name(self.endpoint).map_err(refuse)?;
        encoder.array(2)?.str(self.endpoint)?.bytes(self.psk)?.ok()
    }
}

impl<'a> Hints<'a> {
    /// Reads a batch.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        whole(bytes, |reader| List::read(reader, HINTS, Part::NumberOfHints).map(Self))
    }
}

impl<C> Encode<C> for Hints<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        self.0.write(encoder, HINTS)
    }
}

impl Hint<'_> {
    fn check(&self) -> Result<(), MessageError> {
        bound((1..=CAMPAIGN_BYTES_MAX).contains(&self.campaign.len()), Part::Campaign)?;
        check_name(self.endpoint)?;
        bound(self.detail.len() <= DETAIL_BYTES_MAX, Part::Detail)
    }
}

impl<'a> Element<'a> for Hint<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(4)?;
        let (campaign, endpoint) = (reader.text()?, reader.text()?);
        let hint = Self { campaign, endpoint, what: HintKind::read(reader)?, detail: reader.text()? };
        hint.check()?;
        Ok(hint)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        encoder.array(4)?.str(self.campaign)?.str(self.endpoint)?.u8(self.what as u8)?;
        encoder.str(self.detail)?.ok()
    }
}

impl HintKind {
    fn read(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        match reader.uint()? {
            1 => Ok(Self::Pushed),
            2 => Ok(Self::Refused),
            3 => Ok(Self::Unreached),
            other => Err(MessageError::Kind(told(other))),
        }
    }
}

fn check_name(name: &str) -> Result<(), MessageError> {
    bound((1..=NAME_BYTES_MAX).contains(&name.len()), Part::Name)
}

/// One allocation of the right size, or the vector leaves copies of the keys behind as it grows.
#[cfg(feature = "alloc")]
fn written_once(value: &impl Encode<()>) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let mut bytes = Zeroizing::new(alloc::vec![0; cbor::encoded_len(value)?]);
    cbor::write_into(value, &mut bytes)?;
    Ok(bytes)
}

#[cfg(feature = "alloc")]
struct UnitFields<'u, 'a>(&'u GatewayUnit<'a>);

#[cfg(feature = "alloc")]
impl<C> Encode<C> for UnitFields<'_, '_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        let Self(unit) = self;
        unit.check().map_err(refuse)?;
        encoder.array(5)?.u64(crate::message::VERSION)?.str(unit.name)?.bytes(unit.psk)?;
        unit.servers.write(encoder, SERVERS)?;
        encoder.bytes(unit.anchors)?.ok()
    }
}

#[cfg(feature = "alloc")]
struct ChildrenFields<'u, 'a>(&'u Children<'a>);

#[cfg(feature = "alloc")]
impl<C> Encode<C> for ChildrenFields<'_, '_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        let Self(children) = self;
        children.check().map_err(refuse)?;
        encoder.array(3)?.u64(crate::message::VERSION)?.u64(children.edition)?;
        children.children.write(encoder, CHILDREN)
    }
}

/// Bytes of the pre-shared key of a link.
pub const LINK_PSK_BYTES: usize = 32;

/// Devices of one gateway: as many as one bundle has grants.
pub const CHILDREN_MAX: usize = BUNDLE_GRANTS_MAX;

/// Hints of one batch: about 64 KiB with names of the largest size.
pub const HINTS_MAX: usize = 256;

/// Bytes of the signed anchors: four roles with four P-256 keys each, eight signatures, with room.
pub const ANCHORS_BYTES_MAX: usize = 4096;

/// Bytes of a hint's detail.
pub const DETAIL_BYTES_MAX: usize = 64;

/// Servers: one, a second to fall back to, with room.
const SERVERS: (usize, usize) = (1, 8);

const CHILDREN: (usize, usize) = (0, CHILDREN_MAX);

const HINTS: (usize, usize) = (0, HINTS_MAX);

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::cbor::CborError;
    use proptest::prelude::*;
    use std::format;
    use std::string::String;

    fn unit<'a>(servers: &'a [&'a str]) -> GatewayUnit<'a> {
        GatewayUnit { name: "gw-1", psk: &[0xaa; 32], servers: List::new(servers), anchors: b"anchors" }
    }

    #[test]
    fn unit_comes_back_and_is_written_the_same_again() {
        let servers = ["coaps://localhost:5684", "coaps://[::1]:5685"];
        let bytes = unit(&servers).encode().unwrap();
        let back = GatewayUnit::decode(&bytes).unwrap();
        assert_eq!(back, unit(&servers));
        assert_eq!(back.encode().unwrap(), bytes);
        assert!(GatewayUnit::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn server_without_dtls_no_server_or_no_name_is_refused() {
        for servers in [&["coap://localhost"][..], &[]] {
            assert_eq!(unit(servers).encode().unwrap_err(), EncodeError::Invalid);
        }
        let nameless = GatewayUnit { name: "", ..unit(&["coaps://localhost"]) };
        assert_eq!(nameless.encode().unwrap_err(), EncodeError::Invalid);
    }

    #[test]
    fn later_version_is_named() {
        let mut bytes = unit(&["coaps://localhost"]).encode().unwrap();
        bytes[1] = 2;
        assert_eq!(GatewayUnit::decode(&bytes).unwrap_err(), MessageError::Version(2));
    }

    #[test]
    fn keys_of_links_do_not_print() {
        let children = [Child { endpoint: "lamp-1", psk: &[0xbb; 32] }];
        let list = Children { edition: 1, children: List::new(&children) };
        let printed = format!("{:?} {list:?}", unit(&["coaps://localhost"]));
        assert!(printed.contains("lamp-1") && !printed.contains("170") && !printed.contains("187"));
    }

    #[test]
    fn child_that_comes_twice_or_out_of_order_is_refused() {
        let child = |endpoint| Child { endpoint, psk: &[0; 32] };
        for endpoints in [["b", "a"], ["a", "a"]] {
            let children = endpoints.map(child);
            let list = Children { edition: 1, children: List::new(&children) };
            assert_eq!(list.encode().unwrap_err(), EncodeError::Invalid);
            let mut bytes = std::vec![0x83, 1, 1, 0x82];
            for endpoint in endpoints {
                bytes.extend([0x82, 0x61, endpoint.as_bytes()[0], 0x58, 32]);
                bytes.extend([0; 32]);
            }
            assert_eq!(Children::decode(&bytes), Err(MessageError::Bound(Part::OrderOfTheChildren)));
        }
    }

    #[test]
    fn hint_of_an_unknown_kind_is_refused() {
        let hints = [Hint { campaign: "c", endpoint: "e", what: HintKind::Refused, detail: "5" }];
        let mut bytes = cbor::to_vec(&Hints(List::new(&hints))).unwrap();
        assert_eq!(Hints::decode(&bytes).unwrap().0.get(0), Some(hints[0]));
        bytes[6] = 4;
        assert_eq!(Hints::decode(&bytes), Err(MessageError::Kind(4)));
        bytes.push(0);
        assert!(matches!(
            Hints::decode(&bytes),
            Err(MessageError::Kind(4) | MessageError::Cbor(CborError::Trailing))
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (GatewayUnit::decode(&bytes), Children::decode(&bytes), Hints::decode(&bytes));
        }

        #[test]
        fn children_come_back_byte_for_byte(
            names in proptest::collection::btree_set("[a-z0-9:-]{1,64}", 0..20),
            edition: u64,
            psk: [u8; 32],
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let children: Vec<Child<'_>> = names.iter().map(|name| Child { endpoint: name, psk: &psk }).collect();
            let list = Children { edition, children: List::new(&children) };
            let bytes = list.encode().unwrap();
            let back = Children::decode(&bytes).unwrap();
            prop_assert_eq!(back, list);
            prop_assert_eq!(back.encode().unwrap(), bytes);
        }

        #[test]
        fn hints_come_back_byte_for_byte(
            entries in proptest::collection::vec(("[a-z]{1,40}", "[a-z]{1,64}", 0usize..3, "[0-9]{0,8}"), 0..20),
        ) {
            let kinds = [HintKind::Pushed, HintKind::Refused, HintKind::Unreached];
            let hints: Vec<Hint<'_>> = entries
                .iter()
                .map(|(campaign, endpoint, kind, detail)| Hint { campaign, endpoint, what: kinds[*kind], detail })
                .collect();
            let bytes = cbor::to_vec(&Hints(List::new(&hints))).unwrap();
            let back = Hints::decode(&bytes).unwrap();
            prop_assert_eq!(back, Hints(List::new(&hints)));
            prop_assert_eq!(cbor::to_vec(&back).unwrap(), bytes);
        }
    }
}
