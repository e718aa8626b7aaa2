//! Reads a registered device over its session, in a format that it speaks.
//!
//! Bounded: [`READS_MAX`] at a time, [`READ_WAIT`] each, and no more bytes than the endpoint takes.

use std::time::Duration;

use bellwether_api::{ReadDevice, ReadValue, Reading, ValueKind};
use bellwether_decide::device::Endpoint;
use bellwether_decide::queue_mode::Listening;
use bellwether_net::RequestError;
use bellwether_net::coap::{Code, Failure, Method, Request, Response};
use lwm2m_rs::registration::Version;
use lwm2m_rs::table::{self, Operations};
use lwm2m_rs::{ContentFormat, Path, Value, codec};

use super::devices::{endpoint, time, unknown};
use crate::asking::AskError;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::registry::{Registration, Speaks};

impl Core {
    /// Asks a device for what it has at a path.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the path can't be read or the device is not registered, and for whatever goes wrong at the
    /// device: [`bellwether_api::ErrorCode::Asleep`] at once, [`bellwether_api::ErrorCode::NoAnswer`] and [`bellwether_api::ErrorCode::BadAnswer`] are its alone.
    pub async fn read_device(&self, asked: &ReadDevice) -> Result<Reading, Refusal> {
        let name = endpoint(&asked.endpoint)?;
        let path = readable(&asked.path)?;
        let Some(registration) = self.registry.find(&name, self.steady()) else {
            let enrolled = self.store.device(&self.tenant, &name).await.map_err(Refusal::internal)?;
            return Err(if enrolled.is_some() { away(&asked.endpoint) } else { unknown(&asked.endpoint) });
        };
        let Ok(_place) = self.reads.try_acquire() else {
            return Err(Refusal::conflict(format!(
                "{READS_MAX} devices are being read already; try again when they have answered"
            )));
        };
        let response = self.answer_of(&registration, path).await?;
        let format = ContentFormat(response.content_format.unwrap_or(ContentFormat::TEXT.0));
        let values = codec::decode(format, path, &response.payload).map_err(|error| {
            Refusal::bad_answer(format!("{name} answered what can't be read (format {format}): {error}"))
        })?;
        let values = values.into_iter().map(|(path, value)| shown(path, value)).collect();
        Ok(Reading {
            endpoint: asked.endpoint.clone(),
            path: path.to_string(),
            content_format: format.0,
            values,
        })
    }
}

/// Reads a path that a caller wrote, and refuses what the tables know can't be read.
fn readable(text: &str) -> Result<Path, Refusal> {
    let path: Path = text.parse().map_err(|error| Refusal::invalid(format!("path: {text:?}: {error}")))?;
    if path.object() == table::SECURITY.id {
        return Err(Refusal::invalid("path: object 0 holds a device's keys; no server reads it"));
    }
    if path.object() == OSCORE {
        return Err(Refusal::invalid("path: object 21 holds a device's OSCORE keys; no server reads it"));
    }
    let resource = path.resource().and_then(|resource| table::resource(path.object(), resource));
    match resource {
        Some(resource) if !resource.operations.can_read() => {
            let why = match resource.operations {
                Operations::Execute => "is executed and holds no value",
                _ => "is only written",
            };
            Err(Refusal::invalid(format!("path: {path} ({}) can't be read: it {why}", resource.name)))
        }
        _ => Ok(path),
    }
}

fn away(name: &str) -> Refusal {
    Refusal::conflict(format!(
        "{name} is not registered now, so it can't be asked; `bellwether device show {name}` says when it is"
    ))
}

impl Core {
    /// Asks in the format that suits best; where the device does not know that one, it chooses itself.
    async fn answer_of(&self, registration: &Registration, path: Path) -> Result<Response, Refusal> {
        let response = self.value_of(registration, path, preferred(&registration.speaks)).await?;
        let response = match response.code {
            Code::NOT_ACCEPTABLE | Code::BAD_OPTION | Code::UNSUPPORTED_CONTENT_FORMAT => {
                self.value_of(registration, path, None).await?
            }
            _ => response,
        };
        taken(&registration.endpoint, path, response)
    }

    async fn value_of(
        &self,
        registration: &Registration,
        path: Path,
        accept: Option<ContentFormat>,
    ) -> Result<Response, Refusal> {
        let mut request = Request::new(Method::Get, &registration.speaks.uri_path(path));
        request.accept = accept.map(|format| format.0);
        let answer = self.ask(registration, request);
        let name = &registration.endpoint;
        match tokio::time::timeout(READ_WAIT, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(AskError::Asleep)) => Err(self.asleep(registration)),
            Ok(Err(AskError::Request(error))) => Err(failed(name.as_str(), &error)),
            Err(_) => Err(Refusal::no_answer(format!(
                "{name} did not answer within {} s; it may sleep, or be out of reach",
                READ_WAIT.as_secs()
            ))),
        }
    }

    /// Refuses what a sleeping device would have to answer, with when it can be asked.
    fn asleep(&self, registration: &Registration) -> Refusal {
        let (now, steady) = (self.now(), self.steady());
        let name = &registration.endpoint;
        let since = match self.registry.listening(name, steady) {
            Some(Listening::Asleep { for_s }) => format!(" since {}", time(now.saturating_sub(for_s))),
            _ => String::new(),
        };
        let wait_s =
            (registration.expires != u64::MAX).then(|| registration.expires.saturating_sub(steady).max(1));
        let by = match wait_s {
            Some(wait_s) => format!(
                "it is heard of by about {}, when it has to renew its registration",
                time(now.saturating_add(wait_s))
            ),
            None => "its registration never ends, so that nobody knows when it is heard of".to_owned(),
        };
        let text = format!(
            "{name} is in queue mode and asleep{since}: what is sent to it now is lost, so nothing was. Ask when it wakes; {by}"
        );
        Refusal::asleep(text, wait_s)
    }
}

/// Takes a response that has a value, and says what any other one means.
fn taken(name: &Endpoint, path: Path, response: Response) -> Result<Response, Refusal> {
    match response.code {
        Code::CONTENT => Ok(response),
        Code::NOT_FOUND => Err(Refusal::not_found(format!("{name} has no {path} (4.04)"))),
        Code::METHOD_NOT_ALLOWED => {
            Err(Refusal::conflict(format!("{name} does not let {path} be read (4.05)")))
        }
        Code::UNAUTHORIZED | Code::FORBIDDEN => {
            let text = format!("{name} does not let this server read {path} ({})", dotted(response.code));
            Err(Refusal::conflict(text))
        }
        code => Err(Refusal::bad_answer(format!("{name} answered {} to a Read of {path}", dotted(code)))),
    }
}

fn failed(name: &str, error: &RequestError) -> Refusal {
    match error {
        RequestError::NotTaken(cause) => {
            Refusal::conflict(format!("too much waits for {name} already ({cause}); try again later"))
        }
        RequestError::NoSession => Refusal::no_answer(format!("the session with {name} has just ended")),
        RequestError::Failed(Failure::TimedOut) => {
            Refusal::no_answer(format!("{name} did not answer; it may sleep, or be out of reach"))
        }
        RequestError::Failed(failure @ (Failure::Reset | Failure::PeerGone)) => {
            Refusal::no_answer(format!("{name} gave no answer: {failure}"))
        }
        other => {
            let cause =
                std::error::Error::source(other).map(|cause| format!(": {cause}")).unwrap_or_default();
            Refusal::bad_answer(format!("the answer of {name} can't be taken: {other}{cause}"))
        }
    }
}

/// What to ask for: the best of what the device lists, else what every client of its version has. In 1.0 clients were
/// made before TLV had its number, and some give no answer at all to an Accept that they don't know: they choose.
fn preferred(speaks: &Speaks) -> Option<ContentFormat> {
    let listed = PREFERENCE.into_iter().find(|format| speaks.formats.contains(format));
    listed.or(match speaks.version {
        Version::V1_0 => None,
        Version::V1_1 => Some(ContentFormat::TLV),
        Version::V1_2 => Some(ContentFormat::SENML_CBOR),
    })
}

fn dotted(code: Code) -> String {
    format!("{}.{:02}", code.class(), code.detail())
}

fn shown(path: Path, value: Value) -> ReadValue {
    let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
    let unit = definition.map(|definition| definition.units).filter(|unit| !unit.is_empty());
    let (kind, value) = typed(value);
    ReadValue {
        path: path.to_string(),
        name: definition.map(|definition| definition.name.to_owned()),
        kind,
        value,
        unit: unit.map(str::to_owned),
    }
}

fn typed(value: Value) -> (ValueKind, serde_json::Value) {
    match value {
        Value::String(text) => (ValueKind::String, text.into()),
        Value::CoreLink(text) => (ValueKind::CoreLink, text.into()),
        Value::Integer(number) => (ValueKind::Integer, number.into()),
        Value::Time(number) => (ValueKind::Time, number.into()),
        Value::Unsigned(number) => (ValueKind::Unsigned, number.into()),
        Value::Float(number) => (ValueKind::Float, number.into()),
        Value::Boolean(flag) => (ValueKind::Boolean, flag.into()),
        Value::Opaque(bytes) => (ValueKind::Opaque, hex::encode(bytes).into()),
        Value::ObjectLink(link) => (ValueKind::ObjectLink, link.to_string().into()),
    }
}

/// The object of OSCORE's master secrets, which are the bootstrap server's alone. OMA LwM2M 1.1 transport, annex.
const OSCORE: u16 = 21;

/// The shortest first; text is left out, since it has no room for more than one value.
const PREFERENCE: [ContentFormat; 4] =
    [ContentFormat::SENML_CBOR, ContentFormat::TLV, ContentFormat::SENML_JSON, ContentFormat::JSON];

/// Reads under way at a time: at 256 KiB, the longest body that is taken, 16 MiB.
pub(crate) const READS_MAX: usize = 64;

/// A device that is awake answers within a few round trips; three transmissions fit.
const READ_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_api::ErrorCode;

    fn speaks(version: Version, formats: &[u16]) -> Speaks {
        Speaks { version, formats: formats.iter().copied().map(ContentFormat).collect(), root: String::new() }
    }

    #[test]
    fn best_format_that_the_device_lists_is_asked_for() {
        let leshan = speaks(Version::V1_1, &[60, 110, 112, 11542, 11543]);
        assert_eq!(preferred(&leshan), Some(ContentFormat::SENML_CBOR));
        assert_eq!(preferred(&speaks(Version::V1_1, &[110])), Some(ContentFormat::SENML_JSON));
        assert_eq!(preferred(&speaks(Version::V1_1, &[11543])), Some(ContentFormat::JSON));
    }

    #[test]
    fn device_that_lists_nothing_is_asked_for_what_its_version_has() {
        assert_eq!(preferred(&speaks(Version::V1_0, &[])), None);
        assert_eq!(preferred(&speaks(Version::V1_1, &[])), Some(ContentFormat::TLV));
        assert_eq!(preferred(&speaks(Version::V1_2, &[])), Some(ContentFormat::SENML_CBOR));
    }

    #[test]
    fn paths_that_hold_nothing_to_read_are_refused_with_the_name() {
        for (path, part) in [
            ("/5/0/2", "Update"),
            ("/5/0/0", "Package"),
            ("/0", "keys"),
            ("/21/0/0", "OSCORE"),
            ("3/0", "slash"),
            ("/", "names no"),
        ] {
            let refused = readable(path).expect_err("refused");
            assert!(refused.message.contains(part), "{path}: {}", refused.message);
            assert_eq!(refused.code, ErrorCode::Invalid);
        }
        assert_eq!(readable("/26241/0/7").expect("a path"), Path::Resource(26241, 0, 7));
    }

    #[test]
    fn values_carry_name_type_and_unit_of_the_tables() {
        let level = shown(Path::Resource(3, 0, 9), Value::Integer(95));
        assert_eq!((level.name.as_deref(), level.unit.as_deref()), (Some("Battery Level"), Some("/100")));
        let unknown = shown(Path::Resource(26241, 0, 7), Value::Opaque(vec![1, 0xab]));
        assert_eq!((unknown.name, unknown.unit), (None, None));
        assert_eq!((unknown.kind, unknown.value), (ValueKind::Opaque, "01ab".into()));
    }

    #[test]
    fn number_that_is_not_finite_is_null() {
        assert_eq!(typed(Value::Float(f64::NAN)).1, serde_json::Value::Null);
    }
}
