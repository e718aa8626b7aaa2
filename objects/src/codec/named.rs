//! Values that bring their name and kind with them, as JSON and SenML do, to paths and values by the object tables.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use super::{base64, tlv};
use crate::path::Path;
use crate::table;
use crate::value::{Value, ValueType};

/// Why a body of named values is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NamedError {
    /// It is not of the format at all.
    #[error("body is no {0}")]
    Malformed(&'static str),
    /// More values than [`VALUES_MAX`].
    #[error("body has more than {VALUES_MAX} values")]
    TooMany,
    /// A field that must be understood is not.
    #[error("body has the field {0:?}, which must be understood and is not here")]
    MustUnderstand(String),
    /// A name is no path.
    #[error("name {0:?} is no path")]
    Name(String),
    /// A value does not lie below the path that was asked for.
    #[error("body holds {path}, which is not part of {at}")]
    Outside {
        /// The path that was asked for.
        at: Path,
        /// What came.
        path: Path,
    },
    /// A record without a value, or with more than one.
    #[error("{0} has no value, or more than one")]
    NotOneValue(Path),
    /// One value would put another out.
    #[error("body gives {0} twice")]
    Repeated(Path),
    /// A resource with instances came without, or a single one with one.
    #[error("{0} does not fit the definition of its resource")]
    NotAsDefined(Path),
    /// The value is none of the resource's type, or the resource holds none.
    #[error("value of {0} is not of the resource's type")]
    NotOfType(Path),
}

/// A value as it is written, before its type is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// A text.
    Text(String),
    /// A number without a fraction.
    Integer(i64),
    /// A number without a fraction, above the range of [`Self::Integer`].
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A text in the field for links to objects.
    Link(String),
}

/// One value with its name, which is whole already.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Base name and name, joined.
    pub name: String,
    /// What is written there.
    pub written: Option<Written>,
}

/// Gives every value its path and type.
///
/// # Errors
///
/// [`NamedError`].
pub fn typed(at: Path, named: Vec<Named>) -> Result<Vec<(Path, Value)>, NamedError> {
    let values = named.into_iter().map(|one| typed_one(at, one)).collect::<Result<Vec<_>, _>>()?;
    match tlv::repeated(&values) {
        Some(path) => Err(NamedError::Repeated(path)),
        None => Ok(values),
    }
}

fn typed_one(at: Path, Named { name, written }: Named) -> Result<(Path, Value), NamedError> {
    let path = path_of(at, &name)?;
    if !tlv::is_within(at, path) {
        return Err(NamedError::Outside { at, path });
    }
    let value = value(path, written.ok_or(NamedError::NotOneValue(path))?)?;
    let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
    if definition.is_some_and(|definition| definition.multiple != path.resource_instance().is_some()) {
        return Err(NamedError::NotAsDefined(path));
    }
    Ok((path, value))
}

/// Old JSON may leave the base name out; the name is then below the path that was asked for.
fn path_of(at: Path, name: &str) -> Result<Path, NamedError> {
    let whole = match name {
        "" => return Ok(at),
        absolute if absolute.starts_with('/') => absolute.parse(),
        relative => format!("{at}/{relative}").parse(),
    };
    whole.map_err(|_| NamedError::Name(name.chars().take(NAME_SHOWN_MAX).collect()))
}

/// Takes what is written as a value of the type that the tables give its path.
///
/// # Errors
///
/// [`NamedError::NotOfType`].
pub fn value(path: Path, written: Written) -> Result<Value, NamedError> {
    let resource = path.resource().ok_or(NamedError::NotOfType(path))?;
    let value = match table::resource(path.object(), resource) {
        Some(definition) => definition.value_type.and_then(|value_type| of_type(value_type, written)),
        None => untyped(written),
    };
    value.ok_or(NamedError::NotOfType(path))
}

fn of_type(value_type: ValueType, written: Written) -> Option<Value> {
    match value_type {
        ValueType::String => text(written).map(Value::String),
        ValueType::CoreLink => text(written).map(Value::CoreLink),
        ValueType::Integer => integer(&written).map(Value::Integer),
        ValueType::Time => integer(&written).map(Value::Time),
        ValueType::Unsigned => unsigned(&written).map(Value::Unsigned),
        ValueType::Float => float(&written).map(Value::Float),
        ValueType::Boolean => match written {
            Written::Boolean(flag) => Some(Value::Boolean(flag)),
            _ => None,
        },
        ValueType::Opaque => match written {
            Written::Bytes(bytes) => Some(Value::Opaque(bytes)),
            // Old JSON has no field for bytes.
            Written::Text(text) => base64::decode(text.as_bytes()).map(Value::Opaque),
            _ => None,
        },
        ValueType::ObjectLink => match written {
            Written::Link(text) | Written::Text(text) => text.parse().ok().map(Value::ObjectLink),
            _ => None,
        },
    }
}

fn untyped(written: Written) -> Option<Value> {
    Some(match written {
        Written::Text(text) => Value::String(text),
        Written::Integer(number) => Value::Integer(number),
        Written::Unsigned(number) => Value::Unsigned(number),
        Written::Float(number) => Value::Float(number),
        Written::Boolean(flag) => Value::Boolean(flag),
        Written::Bytes(bytes) => Value::Opaque(bytes),
        Written::Link(text) => Value::ObjectLink(text.parse().ok()?),
    })
}

fn text(written: Written) -> Option<String> {
    match written {
        Written::Text(text) => Some(text),
        _ => None,
    }
}

fn integer(written: &Written) -> Option<i64> {
    match *written {
        Written::Integer(number) => Some(number),
        // Many clients have one kind of number only.
        Written::Float(number) => whole(number),
        _ => None,
    }
}

fn unsigned(written: &Written) -> Option<u64> {
    match *written {
        Written::Unsigned(number) => Some(number),
        _ => u64::try_from(integer(written)?).ok(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a float resource has the precision of a float")]
fn float(written: &Written) -> Option<f64> {
    match *written {
        Written::Integer(number) => Some(number as f64),
        Written::Unsigned(number) => Some(number as f64),
        Written::Float(number) => Some(number),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the number is whole and within 2^53")]
fn whole(number: f64) -> Option<i64> {
    let exact = (-FLOAT_EXACT_MAX..=FLOAT_EXACT_MAX).contains(&number) && number % 1.0 == 0.0;
    exact.then_some(number as i64)
}

/// Up to here a float has every whole number: 2^53.
const FLOAT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Values of one body: all resources of the largest object in sight with ten instances.
pub const VALUES_MAX: usize = 1_024;

/// Letters of a wrong name that an error repeats: a path of four ids has 24.
const NAME_SHOWN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ObjectLink;
    use alloc::string::ToString;
    use alloc::vec;

    fn one(name: &str, written: Written) -> Vec<Named> {
        vec![Named { name: name.to_string(), written: Some(written) }]
    }

    #[test]
    fn whole_float_is_an_integer_and_a_broken_one_is_not() {
        let level = Path::Resource(3, 0, 9);
        assert_eq!(typed(level, one("/3/0/9", Written::Float(95.0))), Ok(vec![(level, Value::Integer(95))]));
        for number in [0.5, 1e300, f64::NAN, f64::INFINITY] {
            let refused = typed(level, one("/3/0/9", Written::Float(number)));
            assert_eq!(refused, Err(NamedError::NotOfType(level)));
        }
    }

    #[test]
    fn value_of_another_path_is_refused() {
        let at = Path::Resource(3, 0, 9);
        let path = Path::Resource(3, 0, 10);
        assert_eq!(typed(at, one("/3/0/10", Written::Integer(1))), Err(NamedError::Outside { at, path }));
    }

    #[test]
    fn resource_with_instances_has_its_value_in_one_and_a_single_one_has_none() {
        let device = Path::Instance(3, 0);
        for (name, path) in
            [("/3/0/11", Path::Resource(3, 0, 11)), ("/3/0/9/1", Path::ResourceInstance(3, 0, 9, 1))]
        {
            assert_eq!(
                typed(device, one(name, Written::Integer(1))),
                Err(NamedError::NotAsDefined(path)),
                "{name}"
            );
        }
        let whole = Path::ResourceInstance(3, 0, 11, 1);
        assert_eq!(
            typed(device, one("/3/0/11/1", Written::Integer(1))),
            Ok(vec![(whole, Value::Integer(1))])
        );
    }

    #[test]
    fn value_that_another_would_put_out_is_refused() {
        let of = |names: [&str; 2]| {
            let named = names.map(|name| one(name, Written::Integer(1)).remove(0));
            typed(Path::Object(26241), named.into())
        };
        let same = Path::Resource(26241, 0, 7);
        assert_eq!(of(["/26241/0/7", "/26241/0/7"]), Err(NamedError::Repeated(same)));
        let index = Path::ResourceInstance(26241, 0, 7, 2);
        assert_eq!(of(["/26241/0/7/2", "/26241/0/7"]), Err(NamedError::Repeated(index)));
        assert!(of(["/26241/0/7", "/26241/1/7"]).is_ok());
    }

    #[test]
    fn name_that_is_no_path_is_refused_and_not_repeated_whole() {
        let Err(NamedError::Name(shown)) = typed(Path::Object(3), one(&"x".repeat(500), Written::Integer(1)))
        else {
            panic!("not refused");
        };
        assert_eq!(shown.len(), NAME_SHOWN_MAX);
    }

    #[test]
    fn record_of_an_instance_has_no_value() {
        let at = Path::Instance(3, 0);
        assert_eq!(typed(at, one("/3/0", Written::Integer(1))), Err(NamedError::NotOfType(at)));
        let empty = vec![Named { name: "/3/0/9".to_string(), written: None }];
        assert_eq!(typed(at, empty), Err(NamedError::NotOneValue(Path::Resource(3, 0, 9))));
    }

    #[test]
    fn unknown_resource_keeps_the_kind_that_it_is_written_in() {
        let at = Path::Resource(26241, 0, 7);
        let link = ObjectLink { object: 3, instance: 0 };
        for (written, value) in [
            (Written::Text("on".to_string()), Value::String("on".to_string())),
            (Written::Integer(-1), Value::Integer(-1)),
            (Written::Unsigned(u64::MAX), Value::Unsigned(u64::MAX)),
            (Written::Boolean(true), Value::Boolean(true)),
            (Written::Bytes(vec![1]), Value::Opaque(vec![1])),
            (Written::Link("3:0".to_string()), Value::ObjectLink(link)),
        ] {
            assert_eq!(typed(at, one("/26241/0/7", written)), Ok(vec![(at, value)]));
        }
    }
}
