//! application/senml+cbor, and application/cbor for one value: read only.
//!
//! Source: RFC 8428 §6; LwM2M Core 1.1 §7.4.5 (`vlo`) and 1.2 §7.4.2.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use super::named::{self, Named, NamedError, VALUES_MAX, Written};
use crate::path::Path;
use crate::value::Value;

/// Reads an answer to a Read of `at`.
///
/// # Errors
///
/// [`NamedError`].
pub fn decode(at: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, NamedError> {
    named::typed(at, records(body)?)
}

/// Reads the one value of a resource or resource instance.
///
/// # Errors
///
/// [`NamedError`].
pub fn decode_value(at: Path, body: &[u8]) -> Result<Value, NamedError> {
    let mut decoder = Decoder::new(body);
    let written = written(&mut decoder).filter(|_| decoder.position() == body.len());
    named::value(at, written.ok_or(NamedError::Malformed("CBOR of one value"))?)
}

fn records(body: &[u8]) -> Result<Vec<Named>, NamedError> {
    let mut decoder = Decoder::new(body);
    let length = decoder.array().map_err(|_| MALFORMED)?;
    let (mut base, mut found) = (String::new(), Vec::new());
    while more(&mut decoder, length, found.len())? {
        if found.len() == VALUES_MAX {
            return Err(NamedError::TooMany);
        }
        found.push(record(&mut decoder, &mut base)?);
    }
    if decoder.position() == body.len() { Ok(found) } else { Err(MALFORMED) }
}

/// Whether another item follows; takes the end of one without a length.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, taken: usize) -> Result<bool, NamedError> {
    if let Some(length) = length {
        return Ok(u64::try_from(taken).unwrap_or(u64::MAX) < length);
    }
    let is_end = decoder.datatype().map_err(|_| MALFORMED)? == Type::Break;
    if is_end {
        decoder.skip().map_err(|_| MALFORMED)?;
    }
    Ok(!is_end)
}

fn record(decoder: &mut Decoder<'_>, base: &mut String) -> Result<Named, NamedError> {
    let length = decoder.map().map_err(|_| MALFORMED)?;
    let (mut name, mut value, mut taken) = (String::new(), None, 0);
    while more(decoder, length, taken)? {
        taken += 1;
        match label(decoder)? {
            Label::BaseName => *base = decoder.str().map_err(|_| MALFORMED)?.to_string(),
            Label::Name => name = decoder.str().map_err(|_| MALFORMED)?.to_string(),
            Label::Value => hold(&mut value, written(decoder))?,
            Label::Link => {
                let link = decoder.str().map_err(|_| MALFORMED)?;
                hold(&mut value, Some(Written::Link(link.to_string())))?;
            }
            Label::Other => decoder.skip().map_err(|_| MALFORMED)?,
        }
    }
    Ok(Named { name: base.clone() + &name, written: value })
}

fn hold(place: &mut Option<Written>, written: Option<Written>) -> Result<(), NamedError> {
    match place.replace(written.ok_or(MALFORMED)?) {
        Some(_) => Err(MALFORMED),
        None => Ok(()),
    }
}

enum Label {
    BaseName,
    Name,
    Value,
    Link,
    Other,
}

/// RFC 8428 table 4. Those that change the meaning of a value must be understood, and are not here.
fn label(decoder: &mut Decoder<'_>) -> Result<Label, NamedError> {
    if decoder.datatype().map_err(|_| MALFORMED)? == Type::String {
        let text = decoder.str().map_err(|_| MALFORMED)?;
        return match text {
            "vlo" => Ok(Label::Link),
            strange if strange.ends_with('_') => {
                Err(NamedError::MustUnderstand(strange.chars().take(FIELD_SHOWN_MAX).collect()))
            }
            _ => Ok(Label::Other),
        };
    }
    match decoder.i64().map_err(|_| MALFORMED)? {
        -2 => Ok(Label::BaseName),
        0 => Ok(Label::Name),
        2 | 3 | 4 | 8 => Ok(Label::Value),
        number @ (-6 | -5 | 5) => Err(NamedError::MustUnderstand(number.to_string())),
        _ => Ok(Label::Other),
    }
}

/// Reads any value; `None` for what SenML has no kind for.
fn written(decoder: &mut Decoder<'_>) -> Option<Written> {
    match decoder.datatype().ok()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            let number = decoder.u64().ok()?;
            Some(i64::try_from(number).map_or(Written::Unsigned(number), Written::Integer))
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().ok().map(Written::Integer),
        Type::F16 => decoder.f16().ok().map(f64::from).map(Written::Float),
        Type::F32 => decoder.f32().ok().map(f64::from).map(Written::Float),
        Type::F64 => decoder.f64().ok().map(Written::Float),
        Type::Bool => decoder.bool().ok().map(Written::Boolean),
        Type::Bytes => decoder.bytes().ok().map(|bytes| Written::Bytes(bytes.to_vec())),
        Type::String => decoder.str().ok().map(|text| Written::Text(text.to_string())),
        _ => None,
    }
}

const MALFORMED: NamedError = NamedError::Malformed("SenML CBOR");

/// Letters of a strange field's name that an error repeats.
const FIELD_SHOWN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use minicbor::Encoder;
    use proptest::prelude::*;

    fn body(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut Encoder::new(&mut bytes));
        bytes
    }

    #[test]
    fn device_object_is_read_with_and_without_lengths() {
        let expected = Ok(vec![
            (Path::Resource(3, 0, 0), Value::String("Bellwether".into())),
            (Path::Resource(3, 0, 9), Value::Integer(95)),
            (Path::ResourceInstance(3, 0, 6, 1), Value::Integer(5)),
        ]);
        let fixed = body(|e| {
            e.array(3).unwrap().map(3).unwrap().i8(-2).unwrap().str("/3/0/").unwrap();
            e.u8(0).unwrap().str("0").unwrap().u8(3).unwrap().str("Bellwether").unwrap();
            e.map(2).unwrap().u8(0).unwrap().str("9").unwrap().u8(2).unwrap().f32(95.0).unwrap();
            e.map(2).unwrap().u8(0).unwrap().str("6/1").unwrap().u8(2).unwrap().u8(5).unwrap();
        });
        let open = body(|e| {
            e.begin_array().unwrap().begin_map().unwrap().i8(-2).unwrap().str("/3/0/").unwrap();
            e.u8(0).unwrap().str("0").unwrap().u8(3).unwrap().str("Bellwether").unwrap().end().unwrap();
            e.map(2).unwrap().u8(0).unwrap().str("9").unwrap().u8(2).unwrap().f64(95.0).unwrap();
            e.map(3).unwrap().u8(0).unwrap().str("6/1").unwrap().u8(2).unwrap().u8(5).unwrap();
            e.u8(6).unwrap().u8(0).unwrap().end().unwrap();
        });
        assert_eq!(decode(Path::Instance(3, 0), &fixed), expected);
        assert_eq!(decode(Path::Instance(3, 0), &open), expected);
    }

    #[test]
    fn two_values_in_a_record_are_refused() {
        let two = body(|e| {
            e.array(1).unwrap().map(3).unwrap().u8(0).unwrap().str("/3/0/9").unwrap();
            e.u8(2).unwrap().u8(1).unwrap().u8(4).unwrap().bool(true).unwrap();
        });
        assert_eq!(decode(Path::Resource(3, 0, 9), &two), Err(MALFORMED));
    }

    #[test]
    fn label_that_must_be_understood_refuses_the_body() {
        let strange = body(|e| {
            e.array(1).unwrap().map(2).unwrap().i8(-5).unwrap().u8(7).unwrap();
            e.u8(0).unwrap().str("/3/0/9").unwrap();
        });
        let refused = NamedError::MustUnderstand("-5".into());
        assert_eq!(decode(Path::Resource(3, 0, 9), &strange), Err(refused));
    }

    #[test]
    fn one_value_is_read_and_nothing_may_follow_it() {
        let level = Path::Resource(3, 0, 9);
        assert_eq!(decode_value(level, &[0x18, 95]), Ok(Value::Integer(95)));
        assert!(decode_value(level, &[0x18, 95, 0]).is_err());
        assert_eq!(decode_value(level, &[0x61, b'x']), Err(NamedError::NotOfType(level)));
    }

    #[test]
    fn length_that_promises_too_much_costs_nothing() {
        assert_eq!(decode(Path::Object(3), &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255]), Err(MALFORMED));
        let many = body(|e| {
            e.array(2_000).unwrap();
            for _ in 0..2_000 {
                e.map(0).unwrap();
            }
        });
        assert_eq!(decode(Path::Object(3), &many), Err(NamedError::TooMany));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let at = Path::Instance(3, 0);
            if let Ok(values) = decode(at, &bytes) {
                prop_assert!(values.iter().all(|(path, _)| path.object() == 3));
            }
            let _ = decode_value(Path::Resource(3, 0, 9), &bytes);
        }
    }
}
