//! The characteristic definition: which answers a manifest asks of a device before it updates.
//!
//! It travels in a private parameter (profile P), in the fetch arguments (S) or in the URI's query (U):
//! [`crate::run::ComponentPlan::definition`] finds it. Ids are SUIT parameter labels and private ones from -300 down.

mod options;
mod query;
#[cfg(feature = "alloc")]
mod write;

pub use options::Options;
pub use query::split_query;
#[cfg(feature = "alloc")]
pub use query::with_query;
#[cfg(feature = "alloc")]
pub use write::{ScopeDraft, encode, encode_fetch_arguments};

use crate::cbor::{CborError, KeyOrder, Kind, Reader};
use crate::manifest::COMPONENTS_MAX;
use crate::report::Reason;
use thiserror::Error;

/// Scopes of one definition: the device and every component.
pub const SCOPES_MAX: usize = COMPONENTS_MAX + 1;
/// Items of one scope; twice as many as there are ids.
pub const ITEMS_MAX: usize = 48;
/// Bytes of a definition that is decoded from a query: what a URI of 255 bytes can hold, and some.
pub const DEFINITION_BYTES_MAX: usize = 256;

/// Why a definition cannot be answered. The manifest is refused; report it with [`DefinitionError::reason`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DefinitionError {
    /// Not deterministic CBOR of the shape of a definition.
    #[error("not a characteristic definition")]
    Cbor(#[from] CborError),
    /// An option of the definition or of an item that is not known here.
    #[error("option {0} of the definition is not known")]
    Option(i64),
    /// A scope or an item comes twice, or there are too many.
    #[error("scopes or items come twice or are too many")]
    Items,
    /// A required characteristic is not one that this device can tell.
    #[error("required characteristic {0} is not known here")]
    Required(i64),
    /// The query is not base64url, or longer than the buffer for it.
    #[error("definition in the query cannot be decoded")]
    Query,
}

impl DefinitionError {
    /// Gives the reason that a SUIT_Report names for this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Required(_) | Self::Option(_) => Reason::ParameterUnsupported,
            Self::Cbor(_) | Self::Items | Self::Query => Reason::CborParse,
        }
    }
}

/// A definition as read: scopes in their order, then options.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    encoded: &'a [u8],
    scopes: &'a [u8],
    scope_count: usize,
    options: Options<'a>,
}

/// The items that are asked of the device (`component` is `None`) or of one component.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Component index; `None` for the whole device.
    pub component: Option<u64>,
    items: &'a [u8],
    count: usize,
}

/// One characteristic that is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Item {
    /// SUIT parameter label, or a private id.
    pub id: i64,
    /// Whether a device that cannot tell it must refuse the manifest.
    pub required: bool,
    /// How the answer is written.
    pub method: Method,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Method {
    /// 0: the value.
    #[default]
    Raw,
    /// 1: salted SHA-256 of the encoded value.
    Digest,
}

impl Item {
    /// Asks for `id`; the device must know it.
    #[must_use]
    pub const fn required(id: i64) -> Self {
        Self { id, required: true, method: Method::Raw }
    }

    /// Asks for `id`; a device that does not know it leaves it out.
    #[must_use]
    pub const fn optional(id: i64) -> Self {
        Self { id, required: false, method: Method::Raw }
    }

    /// Tells whether the answer changes by itself and so travels beside the selector.
    #[must_use]
    pub const fn is_volatile(&self) -> bool {
        is_volatile(self.id)
    }
}

/// Tells whether the answer to `id` changes by itself: free bytes, battery, schedule, link.
#[must_use]
pub const fn is_volatile(id: i64) -> bool {
    matches!(id, FREE_STAGING_BYTES | BATTERY | SLEEP_SCHEDULE | LINK)
}

/// Id of the vendor, UUID.
pub const VENDOR_ID: i64 = 1;
/// Id of the class, UUID.
pub const CLASS_ID: i64 = 2;
/// Id of the installed digest, encoded `SUIT_Digest`.
pub const IMAGE_DIGEST: i64 = 3;
/// Id of the installed version, encoded `[3, [+ int]]`.
pub const VERSION: i64 = 28;
/// Id of the hardware revision.
pub const HARDWARE_REVISION: i64 = -300;
/// Id of the patch algorithms, encoded `[+ int]`.
pub const PATCH_ALGORITHMS: i64 = -306;
/// Id of the free staging bytes; volatile.
pub const FREE_STAGING_BYTES: i64 = -307;
/// Id of the battery's charge in mWh; volatile.
pub const BATTERY: i64 = -309;
/// Id of the region.
pub const REGION: i64 = -310;
/// Id of the sleep schedule; volatile.
pub const SLEEP_SCHEDULE: i64 = -311;
/// Id of the link's MTU and type; volatile.
pub const LINK: i64 = -312;

impl<'a> Definition<'a> {
    /// Reads a definition.
    ///
    /// # Errors
    ///
    /// [`DefinitionError`]; also for an option that is not known here, since it may restrict.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, DefinitionError> {
        let mut reader = Reader::new(encoded);
        let elements = reader.array()?;
        let start = reader.position();
        let (mut scope_count, mut scopes, mut options) = (0, reader.since(start), Options::default());
        for n in 0..elements {
            if n + 1 == elements && reader.kind()? == Kind::Map {
                options = Options::read(&mut reader)?;
                break;
            }
            let scope = Scope::read(&mut reader)?;
            let earlier = ScopeIter { reader: Reader::new(scopes), left: scope_count };
            if scope_count == SCOPES_MAX
                || earlier.into_iter().any(|other| other.component == scope.component)
            {
                return Err(DefinitionError::Items);
            }
            scope_count += 1;
            scopes = reader.since(start);
        }
        reader.finish()?;
        if scope_count == 0 {
            return Err(DefinitionError::Items);
        }
        Ok(Self { encoded, scopes, scope_count, options })
    }

    /// Reads the definition in a URI's query; its bytes are decoded into `scratch`.
    pub(crate) fn parse_query(query: &str, scratch: &'a mut [u8]) -> Result<Self, DefinitionError> {
        let length = query::decode_base64url(query, scratch).ok_or(DefinitionError::Query)?;
        Self::parse(&scratch[..length])
    }

    /// Gives the encoding.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Walks over the scopes.
    pub fn scopes(&self) -> impl Iterator<Item = Scope<'a>> + use<'a> {
        ScopeIter { reader: Reader::new(self.scopes), left: self.scope_count }
    }

    /// Gives the options.
    #[must_use]
    pub const fn options(&self) -> &Options<'a> {
        &self.options
    }

    /// Checks that every required item is `known`; asked are the scope's component and the id.
    ///
    /// # Errors
    ///
    /// [`DefinitionError::Required`] with the first one that is not.
    pub fn check_known(
        &self,
        mut known: impl FnMut(Option<u64>, i64) -> bool,
    ) -> Result<(), DefinitionError> {
        for scope in self.scopes() {
            for item in scope.items().filter(|item| item.required) {
                if !known(scope.component, item.id) {
                    return Err(DefinitionError::Required(item.id));
                }
            }
        }
        Ok(())
    }
}

struct ScopeIter<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for ScopeIter<'a> {
    type Item = Scope<'a>;

    fn next(&mut self) -> Option<Scope<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Read once already, with every check.
        Scope::read(&mut self.reader).ok()
    }
}

impl<'a> Scope<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DefinitionError> {
        reader.array_of(2)?;
        let component = if reader.nil()? { None } else { Some(reader.uint()?) };
        let count = reader.array()?;
        if count == 0 || count > ITEMS_MAX {
            return Err(DefinitionError::Items);
        }
        let start = reader.position();
        for done in 0..count {
            let earlier = Scope { component, items: reader.since(start), count: done };
            let item = read_item(reader)?;
            if earlier.items().any(|other| other.id == item.id) {
                return Err(DefinitionError::Items);
            }
        }
        Ok(Self { component, items: reader.since(start), count })
    }

    /// Walks over the items.
    pub fn items(&self) -> impl Iterator<Item = Item> + use<'a> {
        let mut reader = Reader::new(self.items);
        (0..self.count).map_while(move |_| read_item(&mut reader).ok())
    }
}

fn read_item(reader: &mut Reader<'_>) -> Result<Item, DefinitionError> {
    if reader.kind()? != Kind::Array {
        return Ok(Item::required(reader.int()?));
    }
    reader.array_of(2)?;
    let mut item = Item::required(reader.int()?);
    let mut order = KeyOrder::default();
    for _ in 0..reader.map()? {
        match order.next(reader)? {
            1 => item.required = reader.bool()?,
            2 => {
                item.method = match reader.uint()? {
                    0 => Method::Raw,
                    1 => Method::Digest,
                    _ => return Err(DefinitionError::Option(2)),
                }
            }
            other => skip_option(other, reader)?,
        }
    }
    Ok(item)
}

/// An unknown positive key may restrict, so it refuses; a negative one may be skipped.
fn skip_option(key: i64, reader: &mut Reader<'_>) -> Result<(), DefinitionError> {
    if key >= 0 {
        return Err(DefinitionError::Option(key));
    }
    reader.item()?;
    Ok(())
}

/// Finds the definition in fetch arguments (profile S): key 1 of the map.
pub(crate) fn in_fetch_arguments(arguments: &[u8]) -> Result<Option<Definition<'_>>, DefinitionError> {
    let (mut reader, mut order, mut found) = (Reader::new(arguments), KeyOrder::default(), None);
    for _ in 0..reader.map()? {
        match order.next(&mut reader)? {
            1 => found = Some(Definition::parse(reader.item()?)?),
            other => skip_option(other, &mut reader)?,
        }
    }
    reader.finish()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose::PublicKey;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// `[[nil, [1, 2, -300, -311]], [0, [3, 28]]]`, of the vectors.
    const VECTOR: &str = "8282f684010239012b39013682008203181c";

    fn read(hex: &str) -> Result<(), DefinitionError> {
        Definition::parse(&hex::decode(hex).unwrap()).map(drop)
    }

    #[test]
    fn scopes_and_items_are_read_in_their_order() {
        let bytes = hex::decode(VECTOR).unwrap();
        let definition = Definition::parse(&bytes).unwrap();
        let read: Vec<_> = definition
            .scopes()
            .map(|scope| (scope.component, scope.items().map(|item| item.id).collect::<Vec<_>>()))
            .collect();
        assert_eq!(read, [(None, std::vec![1, 2, -300, -311]), (Some(0), std::vec![3, 28])]);
    }

    #[test]
    fn unknown_required_characteristic_is_named() {
        let bytes = hex::decode(VECTOR).unwrap();
        let definition = Definition::parse(&bytes).unwrap();
        assert_eq!(definition.check_known(|_, id| id != -300), Err(DefinitionError::Required(-300)));
        assert_eq!(definition.check_known(|_, _| true), Ok(()));
    }

    #[test]
    fn unknown_optional_characteristic_is_no_obstacle() {
        // [[nil, [1, [-306, {1: false}]]]]
        let bytes = hex::decode("8182f6820182390131a101f4").unwrap();
        let definition = Definition::parse(&bytes).unwrap();
        assert_eq!(definition.check_known(|_, id| id == 1), Ok(()));
    }

    #[test]
    fn item_or_scope_twice_is_refused() {
        assert_eq!(read("8182f6820101"), Err(DefinitionError::Items));
        assert_eq!(read("8282f6810182f68102"), Err(DefinitionError::Items));
    }

    #[test]
    fn unknown_positive_option_refuses_and_negative_is_skipped() {
        assert_eq!(read("8282f68101a11863f5"), Err(DefinitionError::Option(99)));
        assert_eq!(read("8282f68101a100f5"), Err(DefinitionError::Option(0)));
        assert_eq!(read("8282f68101a120f5"), Ok(()));
    }

    #[test]
    fn option_6_narrows_the_signers() {
        let key = PublicKey::from_coordinates([1; 32], [2; 32]);
        let mut bytes = hex::decode("8282f68101a1068148").unwrap();
        bytes.extend_from_slice(&key.kid());
        let definition = Definition::parse(&bytes).unwrap();
        assert!(definition.options().allows_signer(&key));
        assert!(!definition.options().allows_signer(&PublicKey::from_coordinates([3; 32], [2; 32])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), seed in 0usize..18) {
            if let Ok(definition) = Definition::parse(&bytes) {
                definition.scopes().for_each(|scope| assert!(scope.items().count() > 0));
            }
            let mut near = hex::decode(VECTOR).unwrap();
            near[seed] = bytes.first().copied().unwrap_or(0);
            let _ = (Definition::parse(&near), in_fetch_arguments(&bytes));
        }
    }
}
