//! Paths and values of a TLV body, by the object tables.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::TlvError;
use super::structure::{self, Kind, Node, ResourceNode};
use crate::path::Path;
use crate::table;
use crate::value::{ObjectLink, Value, ValueType};

/// Reads the body of a Write or of the answer to a Read of `at`.
///
/// A resource without a definition is kept as [`Value::Opaque`]. Where `at` is an object of one instance,
/// its resources may stand without the instance around them.
///
/// # Errors
///
/// [`TlvError`]; [`TlvError::Outside`] when a node does not belong to `at`, [`TlvError::Repeated`] when one value
/// would put another out.
pub fn decode_values(at: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, TlvError> {
    let mut values = Vec::new();
    for node in structure::decode(body)? {
        match (node, at) {
            (Node::ObjectInstance { id, resources }, Path::Object(object) | Path::Instance(object, _)) => {
                let instance = child(Path::Object(object), id)?;
                if at.instance().is_some_and(|asked| asked != id) {
                    return Err(TlvError::Outside { at });
                }
                for resource in &resources {
                    read_resource(&mut values, instance, resource)?;
                }
            }
            (Node::Resource(resource), _) => {
                let instance = enclosing_instance(at).ok_or(TlvError::Outside { at })?;
                read_resource(&mut values, instance, &resource)?;
            }
            (Node::ResourceInstance { id, value }, Path::Resource(..)) => {
                let path = child(at, id)?;
                if is_single(at) {
                    return Err(TlvError::NotAsDefined { path });
                }
                values.push((path, read_value(path, value)?));
            }
            (Node::ResourceInstance { id, value }, Path::ResourceInstance(.., asked)) if asked == id => {
                values.push((at, read_value(at, value)?));
            }
            _ => return Err(TlvError::Outside { at }),
        }
    }
    if !values.iter().all(|(path, _)| is_within(at, *path)) {
        return Err(TlvError::Outside { at });
    }
    match repeated(&values) {
        Some(path) => Err(TlvError::Repeated { path }),
        None => Ok(values),
    }
}

/// Finds a path that stands twice, or a resource that stands both as single and with instances.
pub(in crate::codec) fn repeated(values: &[(Path, Value)]) -> Option<Path> {
    clash(&sorted(values))
}

/// The values in the order of their paths below the object.
fn sorted(values: &[(Path, Value)]) -> Vec<&(Path, Value)> {
    let mut sorted: Vec<_> = values.iter().collect();
    sort_by_key(&mut sorted, |(path, _)| place(*path));
    sorted
}

fn place(path: Path) -> (Option<u16>, Option<u16>, Option<u16>) {
    (path.instance(), path.resource(), path.resource_instance())
}

fn clash(sorted: &[&(Path, Value)]) -> Option<Path> {
    // The single one sorts before its instances.
    let clash = |one: Path, next: Path| {
        let ((instance, resource, index), other) = (place(one), place(next));
        (instance, resource) == (other.0, other.1) && (index.is_none() || index == other.2)
    };
    sorted.iter().zip(sorted.iter().skip(1)).find(|(one, next)| clash(one.0, next.0)).map(|(_, next)| next.0)
}

/// Sorts by the heap. The library's own sorts are faster, and cost a device 3 KiB of flash.
fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let sink = |items: &mut [T], mut at: usize| {
        loop {
            let child = 2 * at + 1;
            let Some(first) = items.get(child).map(&key) else { return };
            let larger = child + usize::from(items.get(child + 1).is_some_and(|second| key(second) > first));
            if key(&items[at]) >= key(&items[larger]) {
                return;
            }
            items.swap(at, larger);
            at = larger;
        }
    };
    for at in (0..items.len() / 2).rev() {
        sink(items, at);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sink(&mut items[..end], 0);
    }
}

/// Writes the body of a Write of `at` or of the answer to its Read.
///
/// # Errors
///
/// [`TlvError::Outside`] when a path does not lie below `at` or names no resource,
/// [`TlvError::NotAsDefined`] when a resource is given both as single and with instances.
pub fn encode_values(at: Path, values: &[(Path, Value)]) -> Result<Vec<u8>, TlvError> {
    let fits = |path: Path| path.resource().is_some() && is_within(at, path);
    if !values.iter().all(|(path, _)| fits(*path)) {
        return Err(TlvError::Outside { at });
    }
    let sorted = sorted(values);
    if let Some(path) = clash(&sorted) {
        return Err(TlvError::NotAsDefined { path });
    }
    let mut body = Body::default();
    for (number, (path, value)) in sorted.iter().enumerate() {
        body.add(at, *path, &value_bytes(value), sorted.get(number + 1).map(|(path, _)| *path))?;
    }
    Ok(match at {
        Path::Object(_) => body.instances,
        Path::ResourceInstance(..) => body.resource_instances,
        _ => body.resources,
    })
}

/// A body while it is written in the order of its paths: what is open at each level.
#[derive(Default)]
struct Body {
    instances: Vec<u8>,
    resources: Vec<u8>,
    resource_instances: Vec<u8>,
}

impl Body {
    /// Writes one value, and closes what `next` does not lie in.
    fn add(&mut self, at: Path, path: Path, bytes: &[u8], next: Option<Path>) -> Result<(), TlvError> {
        let (instance, resource, index) = place(path);
        let (next_instance, next_resource, _) = next.map(place).unwrap_or_default();
        let is_last_of_instance = next_instance != instance;
        let id = resource.unwrap_or_default();
        if let Some(index) = index {
            structure::write_node(&mut self.resource_instances, Kind::ResourceInstance, index, bytes)?;
            let is_last = is_last_of_instance || next_resource != resource;
            if is_last && !matches!(at, Path::ResourceInstance(..)) {
                let inner = mem::take(&mut self.resource_instances);
                structure::write_node(&mut self.resources, Kind::Multiple, id, &inner)?;
            }
        } else {
            structure::write_node(&mut self.resources, Kind::Resource, id, bytes)?;
        }
        if is_last_of_instance && matches!(at, Path::Object(_)) {
            let inner = mem::take(&mut self.resources);
            let id = instance.unwrap_or_default();
            structure::write_node(&mut self.instances, Kind::ObjectInstance, id, &inner)?;
        }
        Ok(())
    }
}

fn read_resource(
    values: &mut Vec<(Path, Value)>,
    instance: Path,
    resource: &ResourceNode<'_>,
) -> Result<(), TlvError> {
    match resource {
        ResourceNode::Single { id, value } => {
            let path = child(instance, *id)?;
            if table::resource(path.object(), *id).is_some_and(|definition| definition.multiple) {
                return Err(TlvError::NotAsDefined { path });
            }
            values.push((path, read_value(path, value)?));
        }
        ResourceNode::Multiple { id, instances } => {
            let path = child(instance, *id)?;
            if is_single(path) {
                return Err(TlvError::NotAsDefined { path });
            }
            for (index, value) in instances {
                let path = child(path, *index)?;
                values.push((path, read_value(path, value)?));
            }
        }
    }
    Ok(())
}

/// Tells whether a resource is defined, and to have no instances.
fn is_single(path: Path) -> bool {
    let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
    definition.is_some_and(|definition| !definition.multiple)
}

fn read_value(path: Path, bytes: &[u8]) -> Result<Value, TlvError> {
    let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
    let value_type = match definition {
        Some(definition) => definition.value_type.ok_or(TlvError::NotAsDefined { path })?,
        None => ValueType::Opaque,
    };
    value(value_type, bytes).ok_or(TlvError::NotOfType { path, value_type })
}

/// Reads the bytes of one value.
fn value(value_type: ValueType, bytes: &[u8]) -> Option<Value> {
    Some(match value_type {
        ValueType::String => Value::String(String::from_utf8(bytes.to_vec()).ok()?),
        ValueType::CoreLink => Value::CoreLink(String::from_utf8(bytes.to_vec()).ok()?),
        ValueType::Integer => Value::Integer(signed(bytes)?),
        ValueType::Time => Value::Time(signed(bytes)?),
        ValueType::Unsigned => Value::Unsigned(unsigned(bytes)?),
        ValueType::Float => Value::Float(match *bytes {
            [a, b, c, d] => f32::from_be_bytes([a, b, c, d]).into(),
            _ => f64::from_be_bytes(bytes.try_into().ok()?),
        }),
        ValueType::Boolean => Value::Boolean(match *bytes {
            [0] => false,
            [1] => true,
            _ => return None,
        }),
        ValueType::Opaque => Value::Opaque(bytes.to_vec()),
        ValueType::ObjectLink => match *bytes {
            [a, b, c, d] => Value::ObjectLink(ObjectLink {
                object: u16::from_be_bytes([a, b]),
                instance: u16::from_be_bytes([c, d]),
            }),
            _ => return None,
        },
    })
}

fn signed(bytes: &[u8]) -> Option<i64> {
    Some(match *bytes {
        [a] => i8::from_be_bytes([a]).into(),
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    })
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    Some(match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]).into(),
        _ => u64::from_be_bytes(bytes.try_into().ok()?),
    })
}

/// Writes the bytes of one value, integers in as few as hold them.
fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) | Value::CoreLink(text) => text.as_bytes().to_vec(),
        Value::Integer(number) | Value::Time(number) => signed_bytes(*number),
        Value::Unsigned(number) => unsigned_bytes(*number),
        Value::Float(number) => number.to_be_bytes().to_vec(),
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Opaque(bytes) => bytes.clone(),
        Value::ObjectLink(link) => [link.object.to_be_bytes(), link.instance.to_be_bytes()].concat(),
    }
}

fn signed_bytes(number: i64) -> Vec<u8> {
    if let Ok(number) = i8::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i16::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = i32::try_from(number) {
        number.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

fn unsigned_bytes(number: u64) -> Vec<u8> {
    if let Ok(number) = u8::try_from(number) {
        vec![number]
    } else if let Ok(number) = u16::try_from(number) {
        number.to_be_bytes().to_vec()
    } else if let Ok(number) = u32::try_from(number) {
        number.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

fn child(path: Path, id: u16) -> Result<Path, TlvError> {
    path.child(id).map_err(|_| TlvError::ReservedId)
}

/// The instance whose resources may stand at the top of a body about `at`.
fn enclosing_instance(at: Path) -> Option<Path> {
    match (at, at.instance()) {
        (_, Some(instance)) => Some(Path::Instance(at.object(), instance)),
        // The object has one instance, so naming it is optional.
        (Path::Object(object), None) if table::object(object).is_some_and(|object| !object.multiple) => {
            Some(Path::Instance(object, 0))
        }
        _ => None,
    }
}

pub(in crate::codec) fn is_within(at: Path, path: Path) -> bool {
    let fits = |asked: Option<u16>, found: Option<u16>| asked.is_none() || asked == found;
    at.object() == path.object()
        && fits(at.instance(), path.instance())
        && fits(at.resource(), path.resource())
        && fits(at.resource_instance(), path.resource_instance())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const DEVICE: Path = Path::Instance(3, 0);

    #[test]
    fn resources_of_the_device_get_the_types_of_the_table() {
        let body = [
            0xc8, 0, 8, b'o', b'p', b'e', b'n', b'l', b'a', b'm', b'p', // manufacturer
            0x86, 6, 0x41, 0, 1, 0x41, 1, 5, // power sources
            0xc1, 9, 100, // battery level
            0xc4, 13, 0x51, 0x82, 0x42, 0x8f, // current time
        ];
        let expected = vec![
            (Path::Resource(3, 0, 0), Value::String("openlamp".to_string())),
            (Path::ResourceInstance(3, 0, 6, 0), Value::Integer(1)),
            (Path::ResourceInstance(3, 0, 6, 1), Value::Integer(5)),
            (Path::Resource(3, 0, 9), Value::Integer(100)),
            (Path::Resource(3, 0, 13), Value::Time(0x5182_428f)),
        ];
        assert_eq!(decode_values(DEVICE, &body), Ok(expected.clone()));
        assert_eq!(encode_values(DEVICE, &expected), Ok(body.to_vec()));
    }

    #[test]
    fn body_that_gives_a_resource_twice_is_refused() {
        let instance = Path::ResourceInstance(3, 0, 6, 1);
        let body = [0x86, 6, 0x41, 1, 1, 0x41, 1, 5];
        assert!(matches!(decode_values(DEVICE, &body), Err(TlvError::Repeated { path }) if path == instance));
        let body = [0xc1, 9, 100, 0xc1, 9, 20];
        assert!(matches!(decode_values(DEVICE, &body), Err(TlvError::Repeated { .. })));
        // Unknown to the tables: once as single, once with instances.
        let body = [0xc1, 200, 1, 0x83, 200, 0x41, 0, 1];
        assert!(matches!(decode_values(DEVICE, &body), Err(TlvError::Repeated { .. })));
        let body = [0x41, 1, 1, 0x41, 1, 5];
        assert!(matches!(decode_values(Path::Resource(3, 0, 6), &body), Err(TlvError::Repeated { .. })));
    }

    #[test]
    fn integers_of_every_width_are_signed() {
        for (bytes, number) in [
            (&[0xff][..], -1),
            (&[0xff, 0x7f], -129),
            (&[0x80, 0, 0, 0], i64::from(i32::MIN)),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], i64::MAX),
        ] {
            assert_eq!(value(ValueType::Integer, bytes), Some(Value::Integer(number)));
        }
        for length in [0, 3, 5, 6, 7, 9] {
            assert_eq!(value(ValueType::Integer, &vec![0; length]), None);
            assert_eq!(value(ValueType::Unsigned, &vec![0; length]), None);
        }
    }

    #[test]
    fn bare_resources_stand_for_the_one_instance_of_a_single_object() {
        let state = Ok(vec![(Path::Resource(5, 0, 3), Value::Integer(2))]);
        assert_eq!(decode_values(Path::Object(5), &[0xc1, 3, 2]), state);
        let many = Path::Object(1);
        assert_eq!(decode_values(many, &[0xc1, 1, 60]), Err(TlvError::Outside { at: many }));
    }

    #[test]
    fn nodes_of_another_resource_or_instance_are_refused() {
        let at = Path::Resource(5, 0, 3);
        assert_eq!(decode_values(at, &[0xc1, 5, 0]), Err(TlvError::Outside { at }));
        let at = Path::Instance(1, 1);
        assert_eq!(decode_values(at, &[0x03, 0, 0xc1, 1, 60]), Err(TlvError::Outside { at }));
        let at = Path::ResourceInstance(3, 0, 6, 0);
        assert_eq!(decode_values(at, &[0x41, 1, 5]), Err(TlvError::Outside { at }));
    }

    #[test]
    fn single_resource_that_comes_as_multiple_is_refused() {
        let path = Path::Resource(5, 0, 3);
        assert_eq!(decode_values(path, &[0x83, 3, 0x41, 0, 1]), Err(TlvError::NotAsDefined { path }));
        let alone = Path::ResourceInstance(5, 0, 3, 0);
        assert_eq!(decode_values(path, &[0x41, 0, 1]), Err(TlvError::NotAsDefined { path: alone }));
    }

    #[test]
    fn unknown_resource_is_kept_as_its_bytes() {
        let path = Path::Resource(3, 0, 200);
        assert_eq!(decode_values(DEVICE, &[0xc2, 200, 1, 2]), Ok(vec![(path, Value::Opaque(vec![1, 2]))]));
    }

    #[test]
    fn wrong_bytes_for_a_type_are_refused_with_path_and_type() {
        let path = Path::Resource(5, 0, 3);
        let refused = TlvError::NotOfType { path, value_type: ValueType::Integer };
        assert_eq!(decode_values(path, &[0xc3, 3, 0, 0, 1]), Err(refused));
    }

    #[test]
    fn value_outside_the_path_is_not_written() {
        let at = Path::Resource(5, 0, 3);
        let values = [(Path::Resource(5, 0, 5), Value::Integer(0))];
        assert_eq!(encode_values(at, &values), Err(TlvError::Outside { at }));
        let twice = [(at, Value::Integer(0)), (at, Value::Integer(1))];
        assert_eq!(encode_values(at, &twice), Err(TlvError::NotAsDefined { path: at }));
    }

    #[test]
    fn resource_instance_is_written_and_read_alone() {
        let at = Path::ResourceInstance(3, 0, 11, 4);
        let values = vec![(at, Value::Integer(7))];
        let body = encode_values(at, &values).unwrap();
        assert_eq!(body, [0x41, 4, 7]);
        assert_eq!(decode_values(at, &body), Ok(values));
    }

    fn server_values(instance: u16, number: i64, flag: bool, text: &str) -> Vec<(Path, Value)> {
        vec![
            (Path::Resource(1, instance, 1), Value::Integer(number)),
            (Path::Resource(1, instance, 6), Value::Boolean(flag)),
            (Path::Resource(1, instance, 7), Value::String(text.to_string())),
            (Path::Resource(1, instance, 10), Value::ObjectLink(ObjectLink { object: 11, instance })),
            (Path::Resource(1, instance, 13), Value::Unsigned(number.unsigned_abs())),
        ]
    }

    proptest! {
        #[test]
        fn any_server_object_comes_back(number: i64, flag: bool, text in ".{0,300}") {
            let mut values = server_values(0, number, flag, &text);
            values.extend(server_values(300, number / 7, !flag, "U"));
            let body = encode_values(Path::Object(1), &values).unwrap();
            prop_assert_eq!(decode_values(Path::Object(1), &body), Ok(values));
        }

        #[test]
        fn items_are_sorted_as_the_library_sorts_them(mut items in proptest::collection::vec(0..50_u8, 0..40)) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sort_by_key(&mut items, |item| *item);
            prop_assert_eq!(items, sorted);
        }

        #[test]
        fn any_value_bytes_are_of_the_asked_type_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            for value_type in [
                ValueType::String, ValueType::Integer, ValueType::Unsigned, ValueType::Float, ValueType::Boolean,
                ValueType::Opaque, ValueType::Time, ValueType::ObjectLink, ValueType::CoreLink,
            ] {
                if let Some(read) = value(value_type, &bytes) {
                    prop_assert_eq!(read.value_type(), value_type);
                }
            }
        }
    }
}
