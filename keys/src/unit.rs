//! The unit file: what a device is personalised with.
//!
//! Deterministic CBOR, `[version 2, id, epoch, chain length, seed, anchors, DTLS identity, DTLS key, [+ server],
//! [* [gateway, DTLS identity, DTLS key]]]`. Version 1, without the list of gateways, is still read. It holds secrets:
//! whoever keeps its bytes keeps them to itself and overwrites them.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "alloc")]
use bellwether_manifests::cbor;
use bellwether_manifests::cbor::{CborError, Reader};
use bellwether_manifests::message::list::{Element, LOCATION_BYTES_MAX, List};
use bellwether_manifests::message::{MessageError, Part, Place};
#[cfg(feature = "alloc")]
use minicbor::encode::Encode;
use minicbor::encode::{Encoder, Error as EncoderError, Write};
use thiserror::Error;
#[cfg(feature = "alloc")]
use zeroize::Zeroizing;

use crate::chain::ChainLength;
use crate::seed::Seed;

/// Personalised data of one device.
#[derive(Clone)]
pub struct UnitData<'a> {
    /// Name of the identity, 1 to 64 bytes: also the endpoint name.
    pub id: &'a str,
    /// Which seed.
    pub epoch: u16,
    /// Number of links of the key chain.
    pub chain_length: ChainLength,
    /// The seed.
    pub seed: Seed,
    /// Encoded `COSE_Sign` over the anchors.
    pub anchors: &'a [u8],
    /// DTLS PSK identity.
    pub dtls_identity: &'a str,
    /// DTLS pre-shared key. Secret.
    pub dtls_psk: &'a [u8; PSK_BYTES],
    /// Servers to register with, `coaps://` URIs, in their order.
    pub servers: List<'a, &'a str>,
    /// Gateways to send update requests and reports to, in their order; none: all of it goes to the server.
    pub gateways: List<'a, GatewayLink<'a>>,
}

/// Where a gateway is and how it knows the device; the credential is of this link alone.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct GatewayLink<'a> {
    /// `coaps://` URI.
    pub uri: &'a str,
    /// DTLS PSK identity: the endpoint name.
    pub identity: &'a str,
    /// DTLS pre-shared key. Secret.
    pub psk: &'a [u8; PSK_BYTES],
}

/// Why bytes are no unit file.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UnitError {
    /// The bytes are not the deterministic CBOR that was expected.
    #[error("unit file is not the expected deterministic CBOR")]
    Cbor(#[from] CborError),
    /// A newer program wrote it.
    #[error("unit file has the unknown version {0}")]
    Version(u64),
    /// A value is outside what a unit file allows; the text names it.
    #[error("{0} is out of its bounds")]
    Bound(&'static str),
    /// Something in it is refused.
    #[error("unit file is refused")]
    Message(#[from] MessageError),
}

impl<'a> UnitData<'a> {
    /// Reads a unit file.
    ///
    /// # Errors
    ///
    /// [`UnitError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UnitError> {
        let mut reader = Reader::new(bytes);
        let elements = reader.array()?;
        let version = reader.uint()?;
        let has_gateways = match version {
            WITHOUT_GATEWAYS => false,
            VERSION => true,
            other => return Err(UnitError::Version(other)),
        };
        if elements != ELEMENTS - usize::from(!has_gateways) {
            return Err(UnitError::Cbor(CborError::Range));
        }
        let unit = Self {
            id: reader.text()?,
            epoch: reader.u16()?,
            chain_length: reader.uint()?.try_into().map_err(|_| UnitError::Bound("chain length"))?,
            seed: Seed::new(*reader.bytes_exact()?),
            anchors: reader.bytes()?,
            dtls_identity: reader.text()?,
            dtls_psk: reader.bytes_exact()?,
            servers: List::read(&mut reader, SERVERS, Part::NumberOfServers)?,
            gateways: if has_gateways {
                List::read(&mut reader, GATEWAYS, Part::NumberOfGateways)?
            } else {
                List::default()
            },
        };
        reader.finish()?;
        unit.check()?;
        Ok(unit)
    }

    /// Writes a unit file.
    ///
    /// # Errors
    ///
    /// [`UnitError`] if a reader would refuse it.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, UnitError> {
        self.check()?;
        let length = cbor::encoded_len(&Fields(self)).map_err(|_| UnitError::Bound("server"))?;
        // One allocation of the right size, or the vector leaves copies of the secrets behind as it grows.
        let mut bytes = Zeroizing::new(alloc::vec![0; length]);
        cbor::write_into(&Fields(self), &mut bytes).map_err(|_| UnitError::Bound("server"))?;
        Ok(bytes)
    }

    /// The place at which a new device begins.
    #[must_use]
    pub const fn first_place(&self) -> Place<'a> {
        Place { id: self.id, epoch: self.epoch, index: 0 }
    }

    fn check(&self) -> Result<(), UnitError> {
        self.first_place().check()?;
        let identity = (1..=DTLS_IDENTITY_BYTES_MAX).contains(&self.dtls_identity.len());
        let anchors = (1..=ANCHORS_BYTES_MAX).contains(&self.anchors.len());
        let servers = self.servers.iter().all(|server| server.starts_with(SCHEME));
        match (identity, anchors, servers) {
            (true, true, true) => Ok(()),
            (false, _, _) => Err(UnitError::Bound("DTLS identity")),
            (_, false, _) => Err(UnitError::Bound("anchors")),
            _ => Err(UnitError::Bound("server")),
        }
    }
}

/// Writes the fields without a check.
#[cfg(feature = "alloc")]
struct Fields<'u, 'a>(&'u UnitData<'a>);

#[cfg(feature = "alloc")]
impl<C> Encode<C> for Fields<'_, '_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), EncoderError<W::Error>> {
        let Self(unit) = self;
        encoder
            .array(ELEMENTS as u64)?
            .u64(VERSION)?
            .str(unit.id)?
            .u16(unit.epoch)?
            .u16(unit.chain_length.get())?;
        encoder.bytes(unit.seed.expose())?.bytes(unit.anchors)?;
        encoder.str(unit.dtls_identity)?.bytes(unit.dtls_psk)?;
        unit.servers.write(encoder, SERVERS)?;
        unit.gateways.write(encoder, GATEWAYS)
    }
}

impl<'a> Element<'a> for GatewayLink<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(3)?;
        let link = Self { uri: reader.text()?, identity: reader.text()?, psk: reader.bytes_exact()? };
        link.bound().map_or(Ok(link), |name| Err(MessageError::Bound(name)))
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), EncoderError<W::Error>> {
        if self.bound().is_some() {
            return Err(EncoderError::message("gateway is out of its bounds"));
        }
        encoder.array(3)?.str(self.uri)?.str(self.identity)?.bytes(self.psk)?.ok()
    }
}

impl GatewayLink<'_> {
    /// Names what is out of its bounds.
    fn bound(&self) -> Option<Part> {
        let identity = (1..=DTLS_IDENTITY_BYTES_MAX).contains(&self.identity.len());
        match (self.uri.starts_with(SCHEME) && self.uri.len() <= LOCATION_BYTES_MAX, identity) {
            (true, true) => None,
            (false, _) => Some(Part::Gateway),
            _ => Some(Part::DTLSIdentityOfAGatewaysLink),
        }
    }
}

impl fmt::Debug for GatewayLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayLink")
            .field("uri", &self.uri)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnitData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitData")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .field("chain_length", &self.chain_length)
            .field("dtls_identity", &self.dtls_identity)
            .field("servers", &self.servers)
            .field("gateways", &self.gateways)
            .finish_non_exhaustive()
    }
}

/// Version of the file.
const VERSION: u64 = 2;

/// Elements of the file.
const ELEMENTS: usize = 10;

/// The version before, which ends with the servers.
const WITHOUT_GATEWAYS: u64 = 1;

/// What the URI of a server or gateway begins with: nothing goes out without DTLS.
const SCHEME: &str = "coaps://";

/// Bytes of the pre-shared key: as strong as the seed.
pub const PSK_BYTES: usize = 32;

/// Bytes of a PSK identity: what a server must accept (RFC 4279 §5.3).
pub const DTLS_IDENTITY_BYTES_MAX: usize = 128;

/// Bytes of the signed anchors: four roles with four P-256 keys each, eight signatures, with room.
pub const ANCHORS_BYTES_MAX: usize = 4096;

/// Servers: one, a second to fall back to, with room.
const SERVERS: (usize, usize) = (1, 8);

/// Gateways: none, one, a second to fall back to, with room.
const GATEWAYS: (usize, usize) = (0, 8);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    fn unit<'a>(servers: &'a [&'a str]) -> UnitData<'a> {
        UnitData {
            id: "lamp-1",
            epoch: 0,
            chain_length: ChainLength::DEFAULT,
            seed: Seed::new([0xaa; 32]),
            anchors: b"anchors",
            dtls_identity: "lamp-1",
            dtls_psk: &[0xbb; 32],
            servers: List::new(servers),
            gateways: List::new(&GATEWAY),
        }
    }

    const GATEWAY: [GatewayLink<'static>; 1] =
        [GatewayLink { uri: "coaps://gateway:5684", identity: "lamp-1", psk: &[0xcc; 32] }];

    #[test]
    fn unit_comes_back_and_is_written_the_same_again() {
        let servers = ["coaps://localhost:5684", "coaps://[::1]:5685"];
        let bytes = unit(&servers).encode().unwrap();
        let back = UnitData::decode(&bytes).unwrap();
        assert_eq!((back.id, back.epoch, back.chain_length.get()), ("lamp-1", 0, 1024));
        assert_eq!((back.seed.expose(), back.dtls_psk), (&[0xaa; 32], &[0xbb; 32]));
        assert!(back.servers.iter().eq(servers));
        assert!(back.gateways.iter().eq(GATEWAY));
        assert_eq!(back.encode().unwrap(), bytes);
    }

    #[test]
    fn secrets_do_not_print() {
        let printed = format!("{:?}", unit(&["coaps://localhost"]));
        assert!(["170", "187", "204", "aa, "].iter().all(|secret| !printed.contains(secret)), "{printed}");
    }

    #[test]
    fn server_without_dtls_or_no_server_is_refused() {
        for servers in [&["coap://localhost"][..], &[]] {
            assert_eq!(unit(servers).encode().unwrap_err(), UnitError::Bound("server"));
        }
    }

    #[test]
    fn later_version_is_named() {
        let mut bytes = unit(&["coaps://localhost"]).encode().unwrap();
        bytes[1] = 3;
        assert_eq!(UnitData::decode(&bytes).unwrap_err(), UnitError::Version(3));
    }

    /// A file as it was written before there were gateways.
    fn version_1() -> Vec<u8> {
        let mut bytes =
            UnitData { gateways: List::default(), ..unit(&["coaps://localhost"]) }.encode().unwrap();
        assert_eq!(bytes.pop(), Some(0x80));
        bytes[..2].copy_from_slice(&[0x89, 1]);
        bytes.to_vec()
    }

    #[test]
    fn file_of_version_1_has_no_gateways() {
        let bytes = version_1();
        let back = UnitData::decode(&bytes).unwrap();
        assert_eq!((back.id, back.gateways.len()), ("lamp-1", 0));
        assert!(back.servers.iter().eq(["coaps://localhost"]));
    }

    #[test]
    fn version_with_the_elements_of_the_other_is_refused() {
        let mut bytes = version_1();
        bytes[1] = 2;
        assert_eq!(UnitData::decode(&bytes).unwrap_err(), UnitError::Cbor(CborError::Range));
        let mut bytes = unit(&["coaps://localhost"]).encode().unwrap();
        bytes[1] = 1;
        assert_eq!(UnitData::decode(&bytes).unwrap_err(), UnitError::Cbor(CborError::Range));
    }

    #[test]
    fn gateway_without_dtls_or_identity_is_refused() {
        let [good] = GATEWAY;
        for gateway in [GatewayLink { uri: "coap://gateway", ..good }, GatewayLink { identity: "", ..good }] {
            let gateways = [gateway];
            let unit = UnitData { gateways: List::new(&gateways), ..unit(&["coaps://localhost"]) };
            assert!(matches!(unit.encode(), Err(UnitError::Bound(_))), "{gateway:?}");
        }
    }

    #[test]
    fn trailing_or_missing_byte_is_refused() {
        let mut bytes = unit(&["coaps://localhost"]).encode().unwrap();
        assert!(UnitData::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        assert_eq!(UnitData::decode(&bytes).unwrap_err(), UnitError::Cbor(CborError::Trailing));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = UnitData::decode(&bytes);
        }

        #[test]
        fn any_unit_comes_back_and_is_written_the_same_again(
            id in "[a-z0-9-]{1,64}",
            secrets in any::<[[u8; 32]; 2]>(),
            gateways in proptest::collection::vec(("[a-z]{1,9}", "[a-z]{1,9}", any::<[u8; 32]>()), 0..=8),
        ) {
            let uris: Vec<_> = gateways.iter().map(|(host, ..)| format!("coaps://{host}")).collect();
            let links: Vec<_> = gateways
                .iter()
                .zip(&uris)
                .map(|((_, identity, psk), uri)| GatewayLink { uri, identity, psk })
                .collect();
            let [seed, psk] = &secrets;
            let unit = UnitData {
                id: &id,
                seed: Seed::new(*seed),
                dtls_psk: psk,
                gateways: List::new(&links),
                ..unit(&["coaps://localhost"])
            };
            let bytes = unit.encode().unwrap();
            let back = UnitData::decode(&bytes).unwrap();
            prop_assert_eq!(back.gateways, unit.gateways);
            prop_assert_eq!(back.id, unit.id);
            prop_assert_eq!(back.encode().unwrap(), bytes);
        }
    }
}
