//! Bytes of a message body to values and back, by Content-Format.

pub mod base64;
#[cfg(feature = "senml")]
pub mod json;
pub mod link_format;
#[cfg(feature = "senml")]
pub mod named;
pub mod opaque;
#[cfg(feature = "senml")]
pub mod senml_cbor;
pub mod text;
pub mod tlv;

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::content_format::ContentFormat;
use crate::path::Path;
use crate::table;
use crate::value::{Value, ValueType};

/// Why a body is not the values it should be. Answer with 4.00, or 4.15 for [`DecodeError::Format`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DecodeError {
    /// This crate does not read the format.
    #[error("content format {0} is not supported here")]
    Format(ContentFormat),
    /// The format carries one value, and the path names more or less than one resource.
    #[error("content format {format} carries one value, {path} is no single resource")]
    NotOneValue {
        /// Format of the body.
        format: ContentFormat,
        /// Path of the request.
        path: Path,
    },
    /// The resource is executed and holds no value.
    #[error("{0} holds no value")]
    HoldsNoValue(Path),
    /// The text is no value of the resource's type.
    #[error(transparent)]
    Text(#[from] text::TextError),
    /// The TLV structure or one of its values is malformed.
    #[error(transparent)]
    Tlv(#[from] tlv::TlvError),
    /// The JSON, SenML or CBOR is malformed, or one of its values does not fit.
    #[cfg(feature = "senml")]
    #[error(transparent)]
    Named(#[from] named::NamedError),
}

/// Why values cannot be written in a format.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EncodeError {
    /// This crate does not write the format. Answer with 4.06.
    #[error("content format {0} is not supported here")]
    Format(ContentFormat),
    /// The format carries one value. Answer with 4.06.
    #[error("content format {0} carries exactly one value")]
    NotOneValue(ContentFormat),
    /// Only opaque values fit octet-stream. Answer with 4.06.
    #[error("only an opaque value fits an octet-stream")]
    NotOpaque,
    /// The value has no text. Answer with 4.06.
    #[error(transparent)]
    Text(#[from] text::TextError),
    /// The caller's values do not fit the structure.
    #[error(transparent)]
    Tlv(#[from] tlv::TlvError),
}

/// Reads the body of a Write or of the answer to a Read of `at`.
///
/// Types come from the object tables. A resource that they do not have (a newer or a vendor's one) is kept
/// as it came: as [`Value::Opaque`] from TLV and octet-stream, as [`Value::String`] from text, of the kind that it is
/// written in from JSON, SenML and CBOR (feature `senml`). A number from before the registration of the formats counts
/// as the format that it became.
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode(format: ContentFormat, at: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, DecodeError> {
    match format.registered() {
        ContentFormat::TLV => Ok(tlv::decode_values(at, body)?),
        ContentFormat::TEXT => {
            let value_type = single_type(format, at)?.unwrap_or(ValueType::String);
            Ok(alloc::vec![(at, text::decode(value_type, body)?)])
        }
        ContentFormat::OCTET_STREAM => {
            single_type(format, at)?;
            Ok(alloc::vec![(at, opaque::decode(body))])
        }
        #[cfg(feature = "senml")]
        ContentFormat::JSON => Ok(json::decode(at, body)?),
        #[cfg(feature = "senml")]
        ContentFormat::SENML_JSON => Ok(json::decode_senml(at, body)?),
        #[cfg(feature = "senml")]
        ContentFormat::SENML_CBOR => Ok(senml_cbor::decode(at, body)?),
        #[cfg(feature = "senml")]
        ContentFormat::CBOR => {
            single_type(format, at)?;
            Ok(alloc::vec![(at, senml_cbor::decode_value(at, body)?)])
        }
        other => Err(DecodeError::Format(other)),
    }
}

/// Writes the body of a Write of `at` or of the answer to its Read.
///
/// # Errors
///
/// [`EncodeError`].
pub fn encode(format: ContentFormat, at: Path, values: &[(Path, Value)]) -> Result<Vec<u8>, EncodeError> {
    match (format, values) {
        (ContentFormat::TLV, values) => Ok(tlv::encode_values(at, values)?),
        (ContentFormat::TEXT, [(_, value)]) => Ok(String::into_bytes(text::encode(value)?)),
        (ContentFormat::OCTET_STREAM, [(_, value)]) => {
            opaque::encode(value).map(<[u8]>::to_vec).ok_or(EncodeError::NotOpaque)
        }
        (ContentFormat::TEXT | ContentFormat::OCTET_STREAM, _) => Err(EncodeError::NotOneValue(format)),
        (other, _) => Err(EncodeError::Format(other)),
    }
}

/// Type of the one resource that `at` names; `None` when the tables do not have it.
fn single_type(format: ContentFormat, at: Path) -> Result<Option<ValueType>, DecodeError> {
    let resource_id = at.resource().ok_or(DecodeError::NotOneValue { format, path: at })?;
    let Some(resource) = table::resource(at.object(), resource_id) else {
        return Ok(None);
    };
    if resource.multiple && at.resource_instance().is_none() {
        return Err(DecodeError::NotOneValue { format, path: at });
    }
    resource.value_type.map(Some).ok_or(DecodeError::HoldsNoValue(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    const STATE: Path = Path::Resource(5, 0, 3);

    #[test]
    fn state_is_read_from_text_and_from_tlv_alike() {
        let expected = Ok(vec![(STATE, Value::Integer(1))]);
        assert_eq!(decode(ContentFormat::TEXT, STATE, b"1"), expected);
        assert_eq!(decode(ContentFormat::TLV, STATE, &[0xc1, 3, 1]), expected);
    }

    #[test]
    fn numbers_from_before_the_registration_mean_the_same_formats() {
        let expected = Ok(vec![(STATE, Value::Integer(1))]);
        assert_eq!(decode(ContentFormat(1541), STATE, b"1"), expected);
        assert_eq!(decode(ContentFormat(1542), STATE, &[0xc1, 3, 1]), expected);
    }

    #[test]
    fn text_of_a_multiple_resource_needs_the_resource_instance() {
        let errors = Path::Resource(3, 0, 11);
        let refused = DecodeError::NotOneValue { format: ContentFormat::TEXT, path: errors };
        assert_eq!(decode(ContentFormat::TEXT, errors, b"0"), Err(refused));
        let first = Path::ResourceInstance(3, 0, 11, 0);
        assert_eq!(decode(ContentFormat::TEXT, first, b"0"), Ok(vec![(first, Value::Integer(0))]));
    }

    #[test]
    fn resource_that_is_executed_takes_no_value() {
        let update = Path::Resource(5, 0, 2);
        assert_eq!(decode(ContentFormat::TEXT, update, b""), Err(DecodeError::HoldsNoValue(update)));
    }

    #[test]
    fn text_of_an_unknown_resource_stays_a_string() {
        let vendor = Path::Resource(26241, 0, 7);
        let expected = vec![(vendor, Value::String("on".to_string()))];
        assert_eq!(decode(ContentFormat::TEXT, vendor, b"on"), Ok(expected));
    }

    #[test]
    fn only_opaque_values_leave_as_octet_stream() {
        let package = Path::Resource(5, 0, 0);
        let bytes = [(package, Value::Opaque(vec![1, 2]))];
        assert_eq!(encode(ContentFormat::OCTET_STREAM, package, &bytes), Ok(vec![1, 2]));
        let number = [(STATE, Value::Integer(1))];
        assert_eq!(encode(ContentFormat::OCTET_STREAM, STATE, &number), Err(EncodeError::NotOpaque));
    }

    #[test]
    fn formats_of_many_values_do_not_fit_text() {
        let refused = EncodeError::NotOneValue(ContentFormat::TEXT);
        assert_eq!(encode(ContentFormat::TEXT, STATE, &[]), Err(refused));
        let refused = DecodeError::Format(ContentFormat::LWM2M_CBOR);
        assert_eq!(decode(ContentFormat::LWM2M_CBOR, STATE, &[]), Err(refused));
    }

    proptest! {
        #[test]
        fn any_body_of_any_format_decodes_or_is_refused(
            format in prop_oneof![
                Just(0), Just(42), Just(60), Just(110), Just(112), Just(11542), Just(11543), any::<u16>(),
            ],
            object in prop_oneof![Just(1), Just(3), Just(5), any::<u16>()],
            resource in 0..24_u16,
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            for at in [Path::Object(object), Path::Instance(object, 0), Path::Resource(object, 0, resource)] {
                if let Ok(values) = decode(ContentFormat(format), at, &body) {
                    prop_assert!(values.iter().all(|(path, _)| path.object() == object));
                }
            }
        }
    }
}
