//! Targets and policy of a campaign as JSON with a version.

use bellwether_decide::campaign::{Policy, Targets};
use bellwether_decide::device::Endpoint;
use serde::{Deserialize, Serialize};

use super::CodecError;

/// Writes targets.
///
/// # Errors
///
/// [`CodecError::Json`] never in practice: these types have no value that JSON lacks.
pub fn encode_targets(targets: &Targets) -> Result<String, CodecError> {
    let names = |endpoints: &[Endpoint]| endpoints.iter().map(|name| name.as_str().to_owned()).collect();
    let row = match targets {
        Targets::All => TargetsRow::All,
        Targets::Classes(classes) => TargetsRow::Classes(classes.clone()),
        Targets::Endpoints(endpoints) => TargetsRow::Endpoints(names(endpoints)),
    };
    Ok(serde_json::to_string(&Versioned { version: VERSION, value: row })?)
}

/// Reads targets.
///
/// # Errors
///
/// [`CodecError::Version`] for text of a later program, other variants for damaged text.
pub fn decode_targets(text: &str) -> Result<Targets, CodecError> {
    Ok(match decode(text)? {
        TargetsRow::All => Targets::All,
        TargetsRow::Classes(classes) => Targets::Classes(classes),
        TargetsRow::Endpoints(names) => Targets::Endpoints(endpoints(names)?),
    })
}

/// Writes a policy.
///
/// # Errors
///
/// [`CodecError::Json`] never in practice: these types have no value that JSON lacks.
pub fn encode_policy(policy: &Policy) -> Result<String, CodecError> {
    let row = PolicyRow {
        in_flight_max: policy.in_flight_max,
        failure_per_mille_max: policy.failure_per_mille_max,
        failure_sample_min: policy.failure_sample_min,
        reseed: policy.reseed,
        ask_go: policy.ask_go,
    };
    Ok(serde_json::to_string(&Versioned { version: VERSION, value: row })?)
}

/// Reads a policy.
///
/// # Errors
///
/// [`CodecError::Version`] for text of a later program, other variants for damaged text.
pub fn decode_policy(text: &str) -> Result<Policy, CodecError> {
    let row: PolicyRow = decode(text)?;
    Ok(Policy {
        in_flight_max: row.in_flight_max,
        failure_per_mille_max: row.failure_per_mille_max,
        failure_sample_min: row.failure_sample_min,
        reseed: row.reseed,
        ask_go: row.ask_go,
    })
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, CodecError> {
    let VersionOnly { version } = serde_json::from_str(text)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let Versioned { value, .. } = serde_json::from_str(text)?;
    Ok(value)
}

fn endpoints(names: Vec<String>) -> Result<Vec<Endpoint>, CodecError> {
    names
        .into_iter()
        .map(|name| Endpoint::try_from(name).map_err(|_| CodecError::Malformed("endpoint name")))
        .collect()
}

/// The version alone, so that a later form is named as such and not as damage.
#[derive(Deserialize)]
struct VersionOnly {
    #[serde(rename = "v")]
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    #[serde(rename = "v")]
    version: u64,
    value: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TargetsRow {
    All,
    Classes(Vec<String>),
    Endpoints(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRow {
    in_flight_max: Option<u32>,
    failure_per_mille_max: u32,
    failure_sample_min: u32,
    // Not written where they are not set: a policy without them has the text that it always had, and a server that
    // does not know them refuses a policy that needs them.
    #[serde(default, skip_serializing_if = "is_unset")]
    reseed: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    ask_go: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unset(flag: &bool) -> bool {
    !flag
}

const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy {
            in_flight_max: Some(2),
            failure_per_mille_max: 100,
            failure_sample_min: 5,
            reseed: false,
            ask_go: false,
        }
    }

    /// The texts that version 1 writes; later versions have to read them for ever.
    const POLICY_V1: &str =
        r#"{"v":1,"value":{"in_flight_max":2,"failure_per_mille_max":100,"failure_sample_min":5}}"#;
    const TARGETS_V1: [&str; 3] = [
        r#"{"v":1,"value":"all"}"#,
        r#"{"v":1,"value":{"classes":["lamp"]}}"#,
        r#"{"v":1,"value":{"endpoints":["lamp-1"]}}"#,
    ];

    fn kinds() -> [Targets; 3] {
        let lamp = Endpoint::try_from("lamp-1").unwrap();
        [Targets::All, Targets::Classes(vec!["lamp".into()]), Targets::Endpoints(vec![lamp])]
    }

    #[test]
    fn targets_keep_the_text_of_version_1() {
        for (targets, text) in kinds().iter().zip(TARGETS_V1) {
            assert_eq!(encode_targets(targets).unwrap(), text);
            assert_eq!(&decode_targets(text).unwrap(), targets);
        }
    }

    #[test]
    fn policy_keeps_the_text_of_version_1() {
        assert_eq!(encode_policy(&policy()).unwrap(), POLICY_V1);
        assert_eq!(decode_policy(POLICY_V1).unwrap(), policy());
    }

    #[test]
    fn policy_that_reseeds_and_asks_says_so() {
        let policy = Policy { reseed: true, ask_go: true, ..policy() };
        let text = encode_policy(&policy).unwrap();
        assert!(text.ends_with(r#""failure_sample_min":5,"reseed":true,"ask_go":true}}"#), "{text}");
        assert_eq!(decode_policy(&text).unwrap(), policy);
    }

    #[test]
    fn later_version_is_named_as_such() {
        let later = r#"{"v":2,"value":{"waves":[]}}"#;
        assert!(matches!(decode_policy(later), Err(CodecError::Version(2))));
        assert!(matches!(decode_targets(later), Err(CodecError::Version(2))));
    }

    #[test]
    fn policy_with_an_unknown_field_is_refused() {
        let text = POLICY_V1.replace("in_flight_max", "in_flight_min");
        assert!(matches!(decode_policy(&text), Err(CodecError::Json(_))));
    }

    proptest! {
        #[test]
        fn every_policy_reads_back(
            in_flight_max: Option<u32>, share: u32, failure_sample_min: u32, reseed: bool, ask_go: bool,
        ) {
            let failure_per_mille_max = share;
            let policy = Policy { in_flight_max, failure_per_mille_max, failure_sample_min, reseed, ask_go };
            prop_assert_eq!(decode_policy(&encode_policy(&policy).unwrap()).unwrap(), policy);
        }

        #[test]
        fn every_list_of_classes_reads_back(classes: Vec<String>) {
            let targets = Targets::Classes(classes);
            prop_assert_eq!(decode_targets(&encode_targets(&targets).unwrap()).unwrap(), targets);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = decode_targets(&text);
            let _ = decode_policy(&text);
        }
    }
}
