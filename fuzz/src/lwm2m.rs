//! The LwM2M data model: content formats, links, registrations, paths.

use lwm2m_rs::codec::{self, base64, link_format, text, tlv};
use lwm2m_rs::registration::{ObjectList, RegisterParameters, UpdateParameters, Version};
use lwm2m_rs::value::ValueType;
use lwm2m_rs::{ContentFormat, Path, Value, table};

use crate::input::Input;

/// Paths of one resource of every type, of several instances, of unknown objects, and of wider places.
const PATHS: [&str; 16] = [
    "/3", "/3/0", "/3/0/0", "/3/0/9", "/3/0/6", "/3/0/6/1", "/3/0/13", "/5/0/0", "/5/0/1", "/5/0/8", "/1",
    "/0/0/6", "/1/0/7", "/999/0/1", "/999", "/3/0/15",
];

const FORMATS: [ContentFormat; 9] = [
    ContentFormat::TLV,
    ContentFormat::TEXT,
    ContentFormat::OCTET_STREAM,
    ContentFormat::CBOR,
    ContentFormat::SENML_JSON,
    ContentFormat::SENML_CBOR,
    ContentFormat::JSON,
    ContentFormat::LWM2M_CBOR,
    ContentFormat::LINK_FORMAT,
];

/// Values as text, in the order of their paths, in which they are written: not-a-number is equal to itself then.
fn shown(values: &[(Path, Value)]) -> String {
    let mut values: Vec<_> = values.iter().collect();
    values.sort_unstable_by_key(|(path, _)| (path.instance(), path.resource(), path.resource_instance()));
    format!("{values:?}")
}

/// Any body at any path in any format: what it says is the same after it was written in the same format.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let format = FORMATS[usize::from(input.byte()) % FORMATS.len()];
    let at: Path = PATHS[usize::from(input.byte()) % PATHS.len()].parse().expect("a path");
    let body = input.rest();
    let Ok(values) = codec::decode(format, at, body) else { return };
    assert!(values.len() <= body.len().max(1), "{} values of {} bytes", values.len(), body.len());
    for (path, _) in &values {
        assert_eq!(path.object(), at.object(), "{path} is outside {at}");
        assert!(at.instance().is_none() || at.instance() == path.instance(), "{path} is outside {at}");
        assert!(at.resource().is_none() || at.resource() == path.resource(), "{path} is outside {at}");
    }
    let mut paths: Vec<&Path> = values.iter().map(|(path, _)| path).collect();
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{at} {values:?} gives a path twice");
    // What is only read comes back in the format that says as much.
    let format = match format {
        ContentFormat::TLV | ContentFormat::TEXT | ContentFormat::OCTET_STREAM => format,
        _ => ContentFormat::TLV,
    };
    let written = match codec::encode(format, at, &values) {
        Ok(written) => written,
        Err(error) => panic!("{at} {values:?} was read and can't be written: {error}"),
    };
    let again = codec::decode(format, at, &written).expect("what was written can be read");
    if is_typed(&values) {
        assert_eq!(shown(&again), shown(&values));
    }
    assert_eq!(codec::encode(format, at, &again).expect("as before"), written, "one encoding of one value");
}

/// Whether the tables know each value's type: TLV tells no type, and gives others back as bytes.
fn is_typed(values: &[(Path, Value)]) -> bool {
    values.iter().all(|(path, value)| {
        let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
        matches!(value, Value::Opaque(_))
            || definition.is_some_and(|definition| definition.value_type == Some(value.value_type()))
    })
}

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let tlv: &[(u8, &[u8])] = &[
        // LwM2M 1.1, §7.4.3 and §7.4.4: the device object, several instances, object links.
        (1, b"\xc8\x00\x14Open Mobile Alliance\xc8\x01\x16Lightweight M2M Client\xc8\x02\x09345000123\xc3\x031.0"),
        (1, b"\x86\x06\x41\x00\x01\x41\x01\x05\x88\x07\x08\x42\x00\x0e\xd8\x42\x01\x13\x88\x87\x08\x41\x00\x7d\x42\x01\x03\x84"),
        (1, b"\xc1\x09\x64\xc1\x0a\x0f\x83\x0b\x41\x00\x00\xc4\x0d\x51\x82\x42\x8f\xc6\x0e+02:00\xc1\x10U"),
        (0, b"\x08\x00\x11\xc1\x00\x03\xc4\x01\x00\x01\x51\x80\xc1\x06\x01\xc1\x07U"),
        (10, b"\x08\x00\x0f\xc1\x00\x01\xc4\x01\x00\x01\x51\x80\xc1\x06\x01\xc1\x07U"),
        (14, b"\x48\x00\x00\x05\xc4\x01\x00\x00\x00\x01\x44\x02\x00\x00\x00\x07"),
    ];
    let text: &[(u8, &[u8])] = &[
        (2, b"lamp"),
        (3, b"-42"),
        (6, b"1367491215"),
        (12, b"UQ"),
        (7, b"AAEC"),
        (13, "\u{e9}".as_bytes()),
        (9, b"coaps://server"),
    ];
    let json: &[(u8, &[u8])] = &[
        (1, br#"{"e":[{"n":"0","sv":"Open Mobile Alliance"},{"n":"6/0","v":1},{"n":"9","v":100},{"n":"13","v":1367491215}]}"#),
        (2, br#"{"bn":"/3/0/","e":[{"n":"0","sv":"lamp"}]}"#),
    ];
    let senml: &[(u8, &[u8])] = &[
        (1, br#"[{"bn":"/3/0/","n":"0","vs":"Open Mobile Alliance"},{"n":"9","v":100},{"n":"16","vb":true},{"n":"6/1","v":-5.5e3}]"#),
        (7, br#"[{"bn":"/5/0/0","vd":"AAEC"}]"#),
        (12, br#"[{"bn":"/1/0/7","vs":"UQ"},{"bt":25462634,"n":"","vlo":"66:12"}]"#),
    ];
    let cbor: &[(u8, &[u8])] = &[
        (1, b"\x82\xa3\x21\x65/3/0/\x00\x610\x03\x64lamp\xa2\x00\x619\x02\x18\x64"),
        (7, b"\x81\xa2\x21\x66/5/0/0\x08\x43abc"),
    ];
    let with = |format: u8, rows: &[(u8, &[u8])]| -> Vec<Vec<u8>> {
        rows.iter().map(|(path, body)| [&[format, *path][..], body].concat()).collect()
    };
    [
        with(0, tlv),
        with(1, text),
        with(2, text),
        with(3, &[(3, b"\x18\x64"), (2, b"\x64lamp")]),
        with(4, senml),
        with(5, cbor),
        with(6, json),
    ]
    .concat()
}

/// The structure of TLV alone.
pub(crate) fn tlv_structure(data: &[u8]) {
    let Ok(nodes) = tlv::decode(data) else { return };
    let written = tlv::encode(&nodes).expect("what was read can be written");
    assert!(written.len() <= data.len(), "the shortest form is not longer");
    assert_eq!(tlv::decode(&written).as_ref(), Ok(&nodes));
}

/// Text of every type of value.
pub(crate) fn text(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let types = [
        ValueType::String,
        ValueType::Integer,
        ValueType::Unsigned,
        ValueType::Float,
        ValueType::Boolean,
        ValueType::Opaque,
        ValueType::Time,
        ValueType::ObjectLink,
        ValueType::CoreLink,
    ];
    let value_type = types[usize::from(*kind) % types.len()];
    if let Ok(value) = text::decode(value_type, body) {
        let written = text::encode(&value).expect("what was read can be written");
        let again = text::decode(value_type, written.as_bytes()).expect("what was written can be read");
        assert_eq!(again, value);
    }
    if let Some(bytes) = base64::decode(body) {
        assert_eq!(base64::decode(base64::encode(&bytes).as_bytes()), Some(bytes));
    }
    let coded = base64::encode(body);
    assert_eq!(base64::decode(coded.as_bytes()).as_deref(), Some(body));
}

pub(crate) fn text_seeds() -> Vec<Vec<u8>> {
    [
        &b"\0lamp"[..],
        b"\x01-9223372036854775808",
        b"\x0218446744073709551615",
        b"\x03-1.5e-10",
        b"\x041",
        b"\x05AAECAw==",
        b"\x061367491215",
        b"\x0766:12",
        b"\x08</3/0>",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Link format, and the registration payload in it.
pub(crate) fn links(data: &[u8]) {
    let read = link_format::decode(data);
    if let Ok(links) = &read {
        let written = link_format::encode(links);
        assert_eq!(link_format::decode(written.as_bytes()).as_ref(), Ok(links), "{written}");
    }
    if let Ok(list) = ObjectList::parse(data) {
        assert!(read.is_ok());
        let written = match list.to_payload() {
            Ok(written) => written,
            Err(error) => panic!("{list:?} was read and can't be written: {error}"),
        };
        assert_eq!(ObjectList::parse(written.as_bytes()).as_ref(), Ok(&list), "{written}");
        for object in &list.objects {
            assert!(list.has_object(object.path.object()));
        }
    }
}

pub(crate) fn links_seeds() -> Vec<Vec<u8>> {
    [
        "</>;rt=\"oma.lwm2m\";ct=11542,</1/0>,</1/1>,</2/0>,</3/0>,</4/0>,</5>",
        "</lwm2m>;rt=\"oma.lwm2m\";ct=\"110 112 11542\",</lwm2m/1>;ver=1.1,</lwm2m/1/0>,</lwm2m/3/0>;x",
        "</1/0>;ssid=101,</3/0/6>;dim=8;gt=50;lt=42.2,</5/0>,</33630/0>",
        "<coaps://other/3>;title=\"a\\\"b, c\";anchor=\"/x\"",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Queries of Register and Update, one behind each `&`.
pub(crate) fn queries(data: &[u8]) {
    let queries: Vec<&[u8]> = data.split(|byte| *byte == b'&').collect();
    if let Ok(read) = RegisterParameters::parse(&queries) {
        let written = read.queries();
        assert_eq!(RegisterParameters::parse(&written).as_ref(), Ok(&read), "{written:?}");
    }
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        if let Ok(read) = UpdateParameters::parse(version, &queries) {
            let written = read.queries(version);
            assert_eq!(UpdateParameters::parse(version, &written).as_ref(), Ok(&read), "{written:?}");
        }
    }
}

pub(crate) fn queries_seeds() -> Vec<Vec<u8>> {
    [
        "ep=lamp-1&lt=86400&lwm2m=1.1&b=U",
        "ep=urn:dev:os:1&lt=60&lwm2m=1.0&b=UQ",
        "lt=0&lwm2m=1.2&b=UT&Q&sms=+4912345678901",
        "lt=300&b=U&Q",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub(crate) fn path(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(path) = text.parse::<Path>() {
        let written = path.to_string();
        assert_eq!(written.parse::<Path>(), Ok(path));
        assert!(written.len() <= text.len() + 1, "{written} of {text}");
    }
}

pub(crate) fn path_seeds() -> Vec<Vec<u8>> {
    PATHS.map(|path| path.as_bytes().to_vec()).to_vec()
}
