//! Nodes of a TLV body, without types of values.

use alloc::vec::Vec;

use super::TlvError;

/// One node at the top of a body. The types allow no deeper nesting than LwM2M has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Node<'a> {
    /// An object instance with its resources.
    ObjectInstance {
        /// Instance id.
        id: u16,
        /// Its resources.
        resources: Vec<ResourceNode<'a>>,
    },
    /// A resource.
    Resource(ResourceNode<'a>),
    /// An instance of a multiple resource.
    ResourceInstance {
        /// Resource instance id.
        id: u16,
        /// Bytes of the value.
        value: &'a [u8],
    },
}

/// One resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResourceNode<'a> {
    /// A resource with one value.
    Single {
        /// Resource id.
        id: u16,
        /// Bytes of the value.
        value: &'a [u8],
    },
    /// A resource with instances.
    Multiple {
        /// Resource id.
        id: u16,
        /// Resource instance id and bytes of each value.
        instances: Vec<(u16, &'a [u8])>,
    },
}

/// Nodes in one body: every resource of a few dozen object instances, so that a body of two-byte nodes
/// cannot make the reader allocate many times its size.
pub const NODES_MAX: usize = 1024;

/// Reads a body.
///
/// # Errors
///
/// [`TlvError::Truncated`], [`TlvError::Misplaced`], [`TlvError::TooManyNodes`], [`TlvError::ReservedId`].
pub fn decode(body: &[u8]) -> Result<Vec<Node<'_>>, TlvError> {
    let mut reader = Reader { rest: body, at: 0, nodes_left: NODES_MAX };
    let mut nodes = Vec::new();
    while let Some(raw) = reader.next()? {
        nodes.push(match raw.kind {
            Kind::ObjectInstance => {
                let mut inner = reader.inside(&raw);
                let resources = resources(&mut inner)?;
                reader.nodes_left = inner.nodes_left;
                Node::ObjectInstance { id: instance_id(raw.id)?, resources }
            }
            Kind::ResourceInstance => Node::ResourceInstance { id: instance_id(raw.id)?, value: raw.value },
            Kind::Multiple | Kind::Resource => Node::Resource(resource(&mut reader, &raw)?),
        });
    }
    Ok(nodes)
}

/// Writes a body; each node with the shortest header.
///
/// # Errors
///
/// [`TlvError::TooLong`].
pub fn encode(nodes: &[Node<'_>]) -> Result<Vec<u8>, TlvError> {
    let mut out = Vec::new();
    for node in nodes {
        match node {
            Node::ObjectInstance { id, resources } => {
                let mut inner = Vec::new();
                for resource in resources {
                    write_resource(&mut inner, resource)?;
                }
                write_node(&mut out, Kind::ObjectInstance, *id, &inner)?;
            }
            Node::Resource(resource) => write_resource(&mut out, resource)?,
            Node::ResourceInstance { id, value } => write_node(&mut out, Kind::ResourceInstance, *id, value)?,
        }
    }
    Ok(out)
}

/// Bits 7 and 6 of the type byte.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    ObjectInstance,
    ResourceInstance,
    Multiple,
    Resource,
}

struct Raw<'a> {
    kind: Kind,
    id: u16,
    value: &'a [u8],
    /// Position of the node and of its value in the body.
    at: usize,
    value_at: usize,
}

struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
    nodes_left: usize,
}

impl<'a> Reader<'a> {
    fn inside(&self, raw: &Raw<'a>) -> Self {
        Self { rest: raw.value, at: raw.value_at, nodes_left: self.nodes_left }
    }

    fn next(&mut self) -> Result<Option<Raw<'a>>, TlvError> {
        let at = self.at;
        let Some(&head) = self.rest.first() else {
            return Ok(None);
        };
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(TlvError::TooManyNodes)?;
        let truncated = TlvError::Truncated { at };
        self.take(1).ok_or(truncated)?;
        let id_bytes = if head & 0b0010_0000 == 0 { 1 } else { 2 };
        let id = self.number(id_bytes).ok_or(truncated)?;
        let length = match head >> 3 & 0b11 {
            0 => usize::from(head & 0b111),
            length_bytes => self.number(usize::from(length_bytes)).ok_or(truncated)?,
        };
        let value_at = self.at;
        let value = self.take(length).ok_or(truncated)?;
        let id = u16::try_from(id).map_err(|_| truncated)?;
        Ok(Some(Raw { kind: kind(head), id, value, at, value_at }))
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        self.at += bytes;
        Some(taken)
    }
}

fn kind(head: u8) -> Kind {
    match head >> 6 {
        0 => Kind::ObjectInstance,
        1 => Kind::ResourceInstance,
        2 => Kind::Multiple,
        _ => Kind::Resource,
    }
}

fn resources<'a>(reader: &mut Reader<'a>) -> Result<Vec<ResourceNode<'a>>, TlvError> {
    let mut resources = Vec::new();
    while let Some(raw) = reader.next()? {
        resources.push(resource(reader, &raw)?);
    }
    Ok(resources)
}

fn resource<'a>(reader: &mut Reader<'a>, raw: &Raw<'a>) -> Result<ResourceNode<'a>, TlvError> {
    match raw.kind {
        Kind::Resource => Ok(ResourceNode::Single { id: raw.id, value: raw.value }),
        Kind::Multiple => {
            let mut inner = reader.inside(raw);
            let mut instances = Vec::new();
            while let Some(instance) = inner.next()? {
                let Kind::ResourceInstance = instance.kind else {
                    return Err(TlvError::Misplaced { at: instance.at });
                };
                instances.push((instance_id(instance.id)?, instance.value));
            }
            reader.nodes_left = inner.nodes_left;
            Ok(ResourceNode::Multiple { id: raw.id, instances })
        }
        Kind::ObjectInstance | Kind::ResourceInstance => Err(TlvError::Misplaced { at: raw.at }),
    }
}

fn instance_id(id: u16) -> Result<u16, TlvError> {
    if id == u16::MAX { Err(TlvError::ReservedId) } else { Ok(id) }
}

fn write_resource(out: &mut Vec<u8>, resource: &ResourceNode<'_>) -> Result<(), TlvError> {
    match resource {
        ResourceNode::Single { id, value } => write_node(out, Kind::Resource, *id, value),
        ResourceNode::Multiple { id, instances } => {
            let mut inner = Vec::new();
            for (instance, value) in instances {
                write_node(&mut inner, Kind::ResourceInstance, *instance, value)?;
            }
            write_node(out, Kind::Multiple, *id, &inner)
        }
    }
}

/// Writes one node around the bytes of its value, or of the nodes in it.
pub(super) fn write_node(out: &mut Vec<u8>, kind: Kind, id: u16, value: &[u8]) -> Result<(), TlvError> {
    let length = u32::try_from(value.len()).map_err(|_| TlvError::TooLong)?;
    let length_bytes: u8 = match length {
        0..=0b111 => 0,
        0b1000..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0x00ff_ffff => 3,
        _ => return Err(TlvError::TooLong),
    };
    let wide_id = u8::from(id > 0xff);
    let short_length = if length_bytes == 0 { length.to_be_bytes()[3] } else { 0 };
    out.push((kind as u8) << 6 | wide_id << 5 | length_bytes << 3 | short_length);
    let id_bytes = id.to_be_bytes();
    out.extend_from_slice(if wide_id == 1 { &id_bytes } else { &id_bytes[1..] });
    out.extend_from_slice(&length.to_be_bytes()[4 - usize::from(length_bytes)..]);
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_the_length_is_read() {
        for (header, length) in [
            (vec![0b1100_0000 | 7, 1], 7),
            (vec![0b1100_1000, 1, 8], 8),
            (vec![0b1101_0000, 1, 1, 0], 256),
            (vec![0b1101_1000, 1, 1, 0, 0], 65_536),
        ] {
            let mut body = header;
            body.resize(body.len() + length, 0x55);
            let expected = Node::Resource(ResourceNode::Single { id: 1, value: &vec![0x55; length] });
            assert_eq!(decode(&body), Ok(vec![expected.clone()]));
            assert_eq!(encode(&[expected]), Ok(body));
        }
    }

    #[test]
    fn wide_id_is_read_in_two_bytes() {
        let body = [0b1110_0001, 0x01, 0x02, 9];
        assert_eq!(decode(&body), Ok(vec![Node::Resource(ResourceNode::Single { id: 0x102, value: &[9] })]));
    }

    // LwM2M Core 1.0 §6.4.3.2, Table 20: two instances of a multiple resource inside an object instance.
    #[test]
    fn nested_nodes_keep_their_ids_and_values() {
        let body = [0x08, 0, 8, 0x86, 6, 0x41, 0, 1, 0x41, 1, 5];
        let resources = vec![ResourceNode::Multiple { id: 6, instances: vec![(0, &[1][..]), (1, &[5])] }];
        assert_eq!(decode(&body), Ok(vec![Node::ObjectInstance { id: 0, resources }]));
    }

    #[test]
    fn value_past_the_end_of_its_parent_is_refused_with_its_position() {
        // The inner node claims two bytes, its parent holds one of them.
        let body = [0x03, 0, 0xc2, 3, 1, 0xc1, 4, 0];
        assert_eq!(decode(&body), Err(TlvError::Truncated { at: 2 }));
        assert_eq!(decode(&[0xc1]), Err(TlvError::Truncated { at: 0 }));
        assert_eq!(decode(&[0xd8, 1, 0xff, 0xff, 0xff]), Err(TlvError::Truncated { at: 0 }));
    }

    #[test]
    fn object_instance_inside_another_is_refused() {
        assert_eq!(decode(&[0x02, 0, 0x00, 1]), Err(TlvError::Misplaced { at: 2 }));
        assert_eq!(decode(&[0x82, 6, 0xc0, 1]), Err(TlvError::Misplaced { at: 2 }));
    }

    #[test]
    fn reserved_instance_id_is_refused() {
        assert_eq!(decode(&[0x20, 0xff, 0xff]), Err(TlvError::ReservedId));
        assert_eq!(decode(&[0x60, 0xff, 0xff]), Err(TlvError::ReservedId));
    }

    #[test]
    fn nodes_are_counted_over_all_levels() {
        let multiple = |count: usize| {
            let inner = [0x40, 0].repeat(count);
            let mut body = vec![0x90, 6];
            body.extend_from_slice(&u16::try_from(inner.len()).unwrap().to_be_bytes());
            body.extend_from_slice(&inner);
            body
        };
        assert!(decode(&multiple(NODES_MAX - 1)).is_ok());
        assert_eq!(decode(&multiple(NODES_MAX)), Err(TlvError::TooManyNodes));
        let mut two = multiple(NODES_MAX / 2);
        two.extend(multiple(NODES_MAX / 2));
        assert_eq!(decode(&two), Err(TlvError::TooManyNodes));
    }

    #[test]
    fn value_of_sixteen_mebibytes_does_not_fit() {
        let value = vec![0; 1 << 24];
        let node = Node::ResourceInstance { id: 0, value: &value };
        assert_eq!(encode(&[node]), Err(TlvError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_what_encodes_no_longer_or_are_refused(body in proptest::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(nodes) = decode(&body) {
                let written = encode(&nodes).unwrap();
                prop_assert!(written.len() <= body.len());
                prop_assert_eq!(decode(&written), Ok(nodes));
            }
        }

        #[test]
        fn bytes_that_look_like_nodes_decode_or_are_refused(
            body in proptest::collection::vec(prop_oneof![Just(0x08), Just(0x88), Just(0x41), Just(0xc1), 0..9_u8], 0..64),
        ) {
            if let Ok(nodes) = decode(&body) {
                let written = encode(&nodes).unwrap();
                prop_assert_eq!(decode(&written), Ok(nodes));
            }
        }
    }
}
