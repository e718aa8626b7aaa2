//! Writing a definition.

use super::{Item, Method};
use alloc::vec::Vec;
use minicbor::Encoder;
use minicbor::encode::{Error, Write};

/// What is asked of the device (`None`) or of one component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeDraft {
    /// Component index; `None` for the whole device.
    pub component: Option<u64>,
    /// Items, at least one, none twice.
    pub items: Vec<Item>,
}

/// Writes a definition without options.
#[must_use]
pub fn encode(scopes: &[ScopeDraft]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into a vector does not fail.
    write(&mut encoder, scopes).map_or_else(|_| Vec::new(), |()| encoder.into_writer())
}

/// Writes fetch arguments that hold `definition` (profile S).
#[must_use]
pub fn encode_fetch_arguments(definition: &[u8]) -> Vec<u8> {
    // {1: definition}
    let mut arguments = Vec::from([0xa1, 0x01]);
    arguments.extend_from_slice(definition);
    arguments
}

fn write<W: Write>(encoder: &mut Encoder<W>, scopes: &[ScopeDraft]) -> Result<(), Error<W::Error>> {
    encoder.array(scopes.len() as u64)?;
    for scope in scopes {
        encoder.array(2)?;
        match scope.component {
            Some(component) => encoder.u64(component)?,
            None => encoder.null()?,
        };
        encoder.array(scope.items.len() as u64)?;
        for item in &scope.items {
            write_item(encoder, *item)?;
        }
    }
    Ok(())
}

fn write_item<W: Write>(encoder: &mut Encoder<W>, item: Item) -> Result<(), Error<W::Error>> {
    let digest = item.method == Method::Digest;
    if item.required && !digest {
        return encoder.i64(item.id).map(drop);
    }
    encoder.array(2)?.i64(item.id)?.map(u64::from(!item.required) + u64::from(digest))?;
    if !item.required {
        encoder.u8(1)?.bool(false)?;
    }
    if digest {
        encoder.u8(2)?.u8(1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Definition, SCOPES_MAX};
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = Item> {
        (any::<i64>(), any::<bool>(), any::<bool>()).prop_map(|(id, required, digest)| Item {
            id,
            required,
            method: if digest { Method::Digest } else { Method::Raw },
        })
    }

    proptest! {
        #[test]
        fn written_definition_is_read_back(lists in proptest::collection::vec(proptest::collection::vec(item(), 1..6), 1..SCOPES_MAX)) {
            let scopes: Vec<_> = lists.into_iter().enumerate().map(|(n, mut items)| {
                items.sort_by_key(|item| item.id);
                items.dedup_by_key(|item| item.id);
                ScopeDraft { component: n.checked_sub(1).map(|n| n as u64), items }
            }).collect();
            let bytes = encode(&scopes);
            let read: Vec<_> = Definition::parse(&bytes).unwrap().scopes()
                .map(|scope| ScopeDraft { component: scope.component, items: scope.items().collect() })
                .collect();
            prop_assert_eq!(read, scopes);
        }
    }
}
