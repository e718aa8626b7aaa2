//! application/senml+json, and application/vnd.oma.lwm2m+json of LwM2M 1.0 and 1.1: read only.
//!
//! Source: RFC 8428 §4; LwM2M Core 1.1 §7.4.4 and §7.4.5.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value as Json};

use super::base64;
use super::named::{self, Named, NamedError, VALUES_MAX, Written};
use crate::path::Path;
use crate::value::Value;

/// Reads an answer to a Read of `at` in LwM2M's own JSON.
///
/// # Errors
///
/// [`NamedError`].
pub fn decode(at: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, NamedError> {
    let malformed = || NamedError::Malformed("LwM2M JSON");
    let whole: Map<String, Json> = serde_json::from_slice(body).map_err(|_| malformed())?;
    let base = text_of(&whole, "bn").ok_or_else(malformed)?;
    let entries = whole.get("e").and_then(Json::as_array).ok_or_else(malformed)?;
    if entries.len() > VALUES_MAX {
        return Err(NamedError::TooMany);
    }
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = entry.as_object().ok_or_else(malformed)?;
        let name = base.to_string() + text_of(entry, "n").ok_or_else(malformed)?;
        let written = written(entry, &[("sv", text), ("v", number), ("bv", boolean), ("ov", link)]);
        found.push(Named { name, written: written.map_err(|NotOfKind| malformed())? });
    }
    named::typed(at, found)
}

/// Reads an answer to a Read of `at` in SenML.
///
/// # Errors
///
/// [`NamedError`].
pub fn decode_senml(at: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, NamedError> {
    let malformed = || NamedError::Malformed("SenML JSON");
    let records: Vec<Map<String, Json>> = serde_json::from_slice(body).map_err(|_| malformed())?;
    if records.len() > VALUES_MAX {
        return Err(NamedError::TooMany);
    }
    let mut base = String::new();
    let mut found = Vec::with_capacity(records.len());
    for record in &records {
        check_understood(record)?;
        if record.contains_key("bn") {
            base = text_of(record, "bn").ok_or_else(malformed)?.to_string();
        }
        let name = base.clone() + text_of(record, "n").ok_or_else(malformed)?;
        let fields: [(&str, Read); 5] =
            [("vs", text), ("v", number), ("vb", boolean), ("vd", bytes), ("vlo", link)];
        found.push(Named { name, written: written(record, &fields).map_err(|NotOfKind| malformed())? });
    }
    named::typed(at, found)
}

type Read = fn(&Json) -> Option<Written>;

/// RFC 8428 §4.4: a field whose name ends in an underscore must be understood. So must a base value or a sum.
fn check_understood(record: &Map<String, Json>) -> Result<(), NamedError> {
    let strange = |key: &&String| key.ends_with('_') || matches!(key.as_str(), "bv" | "bs" | "s");
    match record.keys().find(strange) {
        Some(key) => Err(NamedError::MustUnderstand(key.chars().take(FIELD_SHOWN_MAX).collect())),
        None => Ok(()),
    }
}

/// The text of a field; empty where it is absent, `None` where it is no text.
fn text_of<'a>(record: &'a Map<String, Json>, field: &str) -> Option<&'a str> {
    record.get(field).map_or(Some(""), Json::as_str)
}

/// The one value of a record; `None` for none.
fn written(record: &Map<String, Json>, fields: &[(&str, Read)]) -> Result<Option<Written>, NotOfKind> {
    let mut found = None;
    for (field, read) in fields {
        if let Some(json) = record.get(*field) {
            if found.is_some() {
                return Err(NotOfKind);
            }
            found = Some(read(json).ok_or(NotOfKind)?);
        }
    }
    Ok(found)
}

/// A value is not of the kind that its field has, or there are two.
struct NotOfKind;

fn text(json: &Json) -> Option<Written> {
    json.as_str().map(|text| Written::Text(text.to_string()))
}

fn link(json: &Json) -> Option<Written> {
    json.as_str().map(|text| Written::Link(text.to_string()))
}

fn boolean(json: &Json) -> Option<Written> {
    json.as_bool().map(Written::Boolean)
}

fn number(json: &Json) -> Option<Written> {
    let signed = json.as_i64().map(Written::Integer);
    signed.or_else(|| json.as_u64().map(Written::Unsigned)).or_else(|| json.as_f64().map(Written::Float))
}

/// RFC 8428 §4.3: base64 in the alphabet for URLs, without padding. Some write the other alphabet, or pad.
fn bytes(json: &Json) -> Option<Written> {
    let text = json.as_str()?.trim_end_matches('=');
    let mut padded: Vec<u8> = text
        .bytes()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    padded.resize(padded.len().next_multiple_of(4), b'=');
    base64::decode(&padded).map(Written::Bytes)
}

/// Letters of a strange field's name that an error repeats.
const FIELD_SHOWN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ObjectLink;
    use alloc::vec;

    const DEVICE: Path = Path::Instance(3, 0);

    #[test]
    fn device_object_of_the_specification_is_read() {
        let body =
            br#"{"bn":"/3/0/","e":[{"n":"0","sv":"Open Mobile Alliance"},{"n":"6/0","v":1},{"n":"6/1","v":5},
            {"n":"9","v":100},{"n":"13","v":1367491215}]}"#;
        let expected = vec![
            (Path::Resource(3, 0, 0), Value::String("Open Mobile Alliance".into())),
            (Path::ResourceInstance(3, 0, 6, 0), Value::Integer(1)),
            (Path::ResourceInstance(3, 0, 6, 1), Value::Integer(5)),
            (Path::Resource(3, 0, 9), Value::Integer(100)),
            (Path::Resource(3, 0, 13), Value::Time(1_367_491_215)),
        ];
        assert_eq!(decode(DEVICE, body), Ok(expected));
    }

    #[test]
    fn name_of_one_resource_may_be_left_out() {
        let at = Path::Resource(3, 0, 0);
        let expected = Ok(vec![(at, Value::String("x".into()))]);
        assert_eq!(decode(at, br#"{"bn":"/3/0/0","e":[{"sv":"x"}]}"#), expected);
        assert_eq!(decode(at, br#"{"e":[{"n":"","sv":"x"}]}"#), expected);
    }

    #[test]
    fn senml_of_the_specification_is_read() {
        let body =
            br#"[{"bn":"/3/0/","n":"0","vs":"Open Mobile Alliance"},{"n":"9","v":100},{"n":"16","vs":"U"}]"#;
        let expected = vec![
            (Path::Resource(3, 0, 0), Value::String("Open Mobile Alliance".into())),
            (Path::Resource(3, 0, 9), Value::Integer(100)),
            (Path::Resource(3, 0, 16), Value::String("U".into())),
        ];
        assert_eq!(decode_senml(DEVICE, body), Ok(expected));
    }

    #[test]
    fn bytes_are_read_in_both_alphabets() {
        let at = Path::Resource(26241, 0, 1);
        for text in ["-_8", "+/8=", "-_8="] {
            let body = alloc::format!(r#"[{{"n":"/26241/0/1","vd":"{text}"}}]"#);
            assert_eq!(decode_senml(at, body.as_bytes()), Ok(vec![(at, Value::Opaque(vec![0xfb, 0xff]))]));
        }
    }

    #[test]
    fn link_to_an_object_is_read() {
        let at = Path::Resource(1, 0, 10);
        let expected = Ok(vec![(at, Value::ObjectLink(ObjectLink { object: 11, instance: 0 }))]);
        assert_eq!(decode_senml(at, br#"[{"bn":"/1/0/10","vlo":"11:0"}]"#), expected);
        assert_eq!(decode(at, br#"{"bn":"/1/0/10","e":[{"ov":"11:0"}]}"#), expected);
    }

    #[test]
    fn field_that_must_be_understood_refuses_the_body() {
        let at = Path::Resource(3, 0, 9);
        for field in ["later_", "bv", "s"] {
            let body = alloc::format!(r#"[{{"n":"/3/0/9","v":1,"{field}":1}}]"#);
            let refused = NamedError::MustUnderstand(field.into());
            assert_eq!(decode_senml(at, body.as_bytes()), Err(refused));
        }
    }

    #[test]
    fn bodies_of_another_shape_are_refused() {
        let at = Path::Resource(3, 0, 9);
        for body in [
            &b""[..],
            b"[",
            b"{}",
            b"[1]",
            br#"[{"n":9,"v":1}]"#,
            br#"[{"n":"/3/0/9","v":1,"vs":"x"}]"#,
            br#"[{"n":"/3/0/9","v":"1"}]"#,
        ] {
            assert_eq!(decode_senml(at, body), Err(NamedError::Malformed("SenML JSON")));
        }
        for body in [&b"[]"[..], br#"{"e":1}"#, br#"{"e":[1]}"#, br#"{"bn":1,"e":[]}"#] {
            assert_eq!(decode(at, body), Err(NamedError::Malformed("LwM2M JSON")));
        }
        let many = alloc::format!("[{}{{}}]", "{},".repeat(VALUES_MAX));
        assert_eq!(decode_senml(at, many.as_bytes()), Err(NamedError::TooMany));
    }
}
