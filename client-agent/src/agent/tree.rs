//! The device's LwM2M objects 1, 3, 5 and 26250: what a Read, Discover, Write or Execute of them means.
//!
//! Reading is answered here; what changes something comes out as a [`Command`], for the agent to carry out.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bellwether_coap::{Code, Method, Request, Response};
use lwm2m_rs::codec::{self, DecodeError};
use lwm2m_rs::firmware::{State, UpdateResult};
use lwm2m_rs::table::{
    self, Operations, bellwether_update as private, device, firmware_update as firmware, server,
};
use lwm2m_rs::{ContentFormat, Path, Value};

/// What the objects show.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    /// `/1/0/1`, in seconds.
    pub(crate) lifetime_s: u32,
    /// `/3/0/0`.
    pub(crate) manufacturer: &'a str,
    /// `/3/0/1`.
    pub(crate) model: &'a str,
    /// `/3/0/2`.
    pub(crate) serial: &'a str,
    /// `/3/0/3`.
    pub(crate) version: &'a str,
    /// `/5/0/3`.
    pub(crate) state: State,
    /// `/5/0/5`.
    pub(crate) result: UpdateResult,
    /// `/26250/0/1`.
    pub(crate) anchors_edition: u64,
    /// `/26250/0/2`.
    pub(crate) stable_answers: &'a [u8],
}

/// What a server wants to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// Write of `/1/0/1`, in seconds.
    SetLifetime(u32),
    /// Execute of `/1/0/8`.
    UpdateRegistration,
    /// Execute of `/3/0/4`.
    Reboot,
    /// Write of `/5/0/0`.
    Package(Vec<u8>),
    /// Write of `/5/0/1` with a URI: this device is pushed to.
    PackageUri,
    /// Write of NUL to `/5/0/0` or of nothing to `/5/0/1`.
    Reset,
    /// Execute of `/5/0/2`.
    Install,
    /// Execute of `/5/0/10`.
    Cancel,
    /// Write of `/26250/0/0`.
    Anchors(Vec<u8>),
    /// Nothing beyond the answer, such as a value that was set to what it is.
    Nothing,
}

/// What a request of the server means.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// It is answered by this.
    Answer(Response),
    /// Something is to be done.
    Command(Command),
}

/// Reads a request of the server.
pub(crate) fn read_request(shown: &Shown<'_>, request: &Request) -> Meaning {
    let refused = |code| Meaning::Answer(Response::new(code));
    let Ok(path) = Path::from_segments(&request.path) else { return refused(Code::NOT_FOUND) };
    if !exists(path) {
        return refused(Code::NOT_FOUND);
    }
    let command = match (request.method, path) {
        (Method::Get, _) if request.accept == Some(ContentFormat::LINK_FORMAT.0) => {
            return Meaning::Answer(discover(path));
        }
        (Method::Get, _) => return Meaning::Answer(read(shown, path, request.accept.map(ContentFormat))),
        (Method::Put, Path::Resource(..)) | (Method::Post, Path::Instance(..)) => write(path, request),
        (Method::Post, Path::Resource(..)) => execute(path),
        _ => Err(Code::METHOD_NOT_ALLOWED),
    };
    command.map_or_else(refused, Meaning::Command)
}

/// The body of a registration.
///
/// Source: OMA LwM2M Core 1.1, §6.2.1 (object list), and the media types that Read answers with.
pub(crate) const REGISTERED_OBJECTS: &str =
    "</>;rt=\"oma.lwm2m\";ct=\"0 40 42 11542\",</1/0>,</3/0>,</5/0>,</26250/0>";

/// Resources with a value to read, in the order of their paths.
const READ: [Path; 16] = [
    Path::Resource(1, 0, server::SHORT_SERVER_ID),
    Path::Resource(1, 0, server::LIFETIME),
    Path::Resource(1, 0, server::NOTIFICATION_STORING_WHEN_DISABLED_OR_OFFLINE),
    Path::Resource(1, 0, server::BINDING),
    Path::Resource(3, 0, device::MANUFACTURER),
    Path::Resource(3, 0, device::MODEL_NUMBER),
    Path::Resource(3, 0, device::SERIAL_NUMBER),
    Path::Resource(3, 0, device::FIRMWARE_VERSION),
    Path::ResourceInstance(3, 0, device::ERROR_CODE, 0),
    Path::Resource(3, 0, device::SUPPORTED_BINDING_AND_MODES),
    Path::Resource(5, 0, firmware::PACKAGE_URI),
    Path::Resource(5, 0, firmware::STATE),
    Path::Resource(5, 0, firmware::UPDATE_RESULT),
    Path::Resource(5, 0, firmware::FIRMWARE_UPDATE_DELIVERY_METHOD),
    Path::Resource(OURS, 0, private::ANCHORS_EDITION),
    Path::Resource(OURS, 0, private::STABLE_ANSWERS),
];

/// The value of a resource that can be read.
fn value(shown: &Shown<'_>, path: Path) -> Value {
    let text = |value: &str| Value::String(value.to_string());
    match (path.object(), path.resource().unwrap_or_default()) {
        (1, server::SHORT_SERVER_ID) => Value::Integer(SHORT_SERVER_ID),
        (1, server::LIFETIME) => Value::Integer(shown.lifetime_s.into()),
        (1, server::NOTIFICATION_STORING_WHEN_DISABLED_OR_OFFLINE) => Value::Boolean(false),
        (3, device::MANUFACTURER) => text(shown.manufacturer),
        (3, device::MODEL_NUMBER) => text(shown.model),
        (3, device::SERIAL_NUMBER) => text(shown.serial),
        (3, device::FIRMWARE_VERSION) => text(shown.version),
        (3, device::ERROR_CODE) => Value::Integer(0),
        (5, firmware::PACKAGE_URI) => text(""),
        (5, firmware::STATE) => Value::Integer(shown.state.into()),
        (5, firmware::UPDATE_RESULT) => Value::Integer(shown.result.into()),
        (5, firmware::FIRMWARE_UPDATE_DELIVERY_METHOD) => Value::Integer(DELIVERY_PUSH),
        (OURS, private::ANCHORS_EDITION) => {
            Value::Integer(i64::try_from(shown.anchors_edition).unwrap_or(i64::MAX))
        }
        (OURS, private::STABLE_ANSWERS) => Value::Opaque(shown.stable_answers.to_vec()),
        // The two that name the binding.
        _ => text(BINDING),
    }
}

/// What is read at a path and below.
fn values(shown: &Shown<'_>, at: Path) -> Vec<(Path, Value)> {
    READ.iter().filter(|known| is_within(at, **known)).map(|known| (*known, value(shown, *known))).collect()
}

/// Resources without a value to read.
const NOT_READ: [Path; 7] = [
    Path::Resource(1, 0, server::REGISTRATION_UPDATE_TRIGGER),
    Path::Resource(3, 0, device::REBOOT),
    Path::Resource(5, 0, firmware::PACKAGE),
    Path::Resource(5, 0, firmware::UPDATE),
    Path::Resource(5, 0, firmware::CANCEL),
    Path::Resource(3, 0, device::ERROR_CODE),
    Path::Resource(OURS, 0, private::ANCHORS),
];

fn exists(path: Path) -> bool {
    READ.iter().chain(&NOT_READ).any(|known| is_within(path, *known))
}

fn is_within(outer: Path, inner: Path) -> bool {
    outer.object() == inner.object()
        && outer.instance().is_none_or(|id| inner.instance() == Some(id))
        && outer.resource().is_none_or(|id| inner.resource() == Some(id))
        && outer.resource_instance().is_none_or(|id| inner.resource_instance() == Some(id))
}

fn read(shown: &Shown<'_>, path: Path, accept: Option<ContentFormat>) -> Response {
    let found = values(shown, path);
    if found.is_empty() {
        return Response::new(Code::METHOD_NOT_ALLOWED);
    }
    let format = accept.unwrap_or(match found.as_slice() {
        [(known, Value::Opaque(_))] if *known == path => ContentFormat::OCTET_STREAM,
        [(known, _)] if *known == path => ContentFormat::TEXT,
        _ => ContentFormat::TLV,
    });
    match codec::encode(format, path, &found) {
        Ok(body) => Response::new(Code::CONTENT).with_payload(format.0, body),
        Err(_) => Response::new(Code::NOT_ACCEPTABLE),
    }
}

fn discover(path: Path) -> Response {
    let mut links = String::new();
    let mut add = |path: Path, attributes: &[&str]| {
        links.push_str(if links.is_empty() { "<" } else { ",<" });
        path.push_to(&mut links);
        links.push('>');
        for attribute in attributes {
            links.push_str(attribute);
        }
    };
    let object = path.object();
    let instance = Path::Instance(object, 0);
    if path == Path::Object(object) {
        let version = table::object(object).map_or("1.0", |known| known.version);
        add(path, &[";ver=", version]);
    }
    if is_within(path, instance) {
        add(instance, &[]);
    }
    let is_listed = |known: &&Path| matches!(known, Path::Resource(..)) && is_within(path, **known);
    let resources = || READ.iter().chain(&NOT_READ).filter(is_listed);
    // One after the other, in their order: they are few, and the library's sort would cost 3 KiB of flash.
    let mut last = None;
    while let Some(next) = resources().filter(|one| last.is_none_or(|last| **one > last)).min() {
        add(*next, &[]);
        last = Some(*next);
    }
    Response::new(Code::CONTENT).with_payload(ContentFormat::LINK_FORMAT.0, links.into_bytes())
}

fn write(path: Path, request: &Request) -> Result<Command, Code> {
    let format = ContentFormat(request.content_format.unwrap_or(ContentFormat::TEXT.0));
    let written = codec::decode(format, path, &request.payload).map_err(|error| match error {
        DecodeError::Format(_) => Code::UNSUPPORTED_CONTENT_FORMAT,
        DecodeError::HoldsNoValue(_) => Code::METHOD_NOT_ALLOWED,
        _ => Code::BAD_REQUEST,
    })?;
    // One command a write: what LwM2M lets a server combine here has no effect of its own.
    let [(path, value)] = written.as_slice() else {
        return Err(Code::BAD_REQUEST);
    };
    write_value(*path, value)
}

fn write_value(path: Path, value: &Value) -> Result<Command, Code> {
    match (path, value) {
        (Path::Resource(1, 0, server::LIFETIME), value) => value
            .as_integer()
            .and_then(|lifetime| u32::try_from(lifetime).ok())
            .filter(|lifetime| *lifetime >= LIFETIME_MIN_S)
            .map(Command::SetLifetime)
            .ok_or(Code::BAD_REQUEST),
        (Path::Resource(1, 0, server::BINDING), Value::String(binding)) if binding == BINDING => {
            Ok(Command::Nothing)
        }
        (
            Path::Resource(1, 0, server::NOTIFICATION_STORING_WHEN_DISABLED_OR_OFFLINE),
            Value::Boolean(false),
        ) => Ok(Command::Nothing),
        (Path::Resource(1, 0, _), _) if is_writable(path) => Err(Code::BAD_REQUEST),
        // LwM2M object 5: NUL as package, or an empty URI, resets the state machine.
        (Path::Resource(5, 0, firmware::PACKAGE), Value::Opaque(bytes)) => match bytes.as_slice() {
            [] | [0] => Ok(Command::Reset),
            _ => Ok(Command::Package(bytes.clone())),
        },
        (Path::Resource(5, 0, firmware::PACKAGE_URI), Value::String(uri)) if uri.is_empty() => {
            Ok(Command::Reset)
        }
        (Path::Resource(5, 0, firmware::PACKAGE_URI), Value::String(_)) => Ok(Command::PackageUri),
        (Path::Resource(OURS, 0, private::ANCHORS), Value::Opaque(bytes)) => {
            Ok(Command::Anchors(bytes.clone()))
        }
        _ => Err(Code::METHOD_NOT_ALLOWED),
    }
}

fn is_writable(path: Path) -> bool {
    let definition = path.resource().and_then(|resource| table::resource(path.object(), resource));
    definition.is_some_and(|known| matches!(known.operations, Operations::Write | Operations::ReadWrite))
}

fn execute(path: Path) -> Result<Command, Code> {
    match path {
        Path::Resource(1, 0, server::REGISTRATION_UPDATE_TRIGGER) => Ok(Command::UpdateRegistration),
        Path::Resource(3, 0, device::REBOOT) => Ok(Command::Reboot),
        Path::Resource(5, 0, firmware::UPDATE) => Ok(Command::Install),
        Path::Resource(5, 0, firmware::CANCEL) => Ok(Command::Cancel),
        _ => Err(Code::METHOD_NOT_ALLOWED),
    }
}

/// Number of the private object.
const OURS: u16 = private::OBJECT.id;

/// The one server of this device. Source: object 1, range 1 ..= 65534.
const SHORT_SERVER_ID: i64 = 1;

/// UDP. Source: LwM2M 1.1 bindings.
const BINDING: &str = "U";

/// Object 5, delivery method: push only.
const DELIVERY_PUSH: i64 = 1;

/// Shorter lifetimes would leave no time for one exchange with its retransmissions and half a lifetime's margin.
pub(crate) const LIFETIME_MIN_S: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Shown<'static> = Shown {
        lifetime_s: 300,
        manufacturer: "example.com",
        model: "lamp",
        serial: "lamp-1",
        version: "1.0.0",
        state: State::Downloaded,
        result: UpdateResult::Initial,
        anchors_edition: 3,
        stable_answers: &[0x80],
    };

    fn answer(method: Method, path: &str, accept: Option<ContentFormat>) -> Response {
        let mut request = Request::new(method, path);
        request.accept = accept.map(|format| format.0);
        match read_request(&SHOWN, &request) {
            Meaning::Answer(response) => response,
            Meaning::Command(command) => panic!("{command:?}"),
        }
    }

    fn command(request: &Request) -> Result<Command, Code> {
        match read_request(&SHOWN, request) {
            Meaning::Answer(response) => Err(response.code),
            Meaning::Command(command) => Ok(command),
        }
    }

    fn put(path: &str, format: ContentFormat, body: &[u8]) -> Result<Command, Code> {
        command(&Request::new(Method::Put, path).with_payload(format.0, body.to_vec()))
    }

    #[test]
    fn single_value_is_read_as_text() {
        let response = answer(Method::Get, "/5/0/3", None);
        assert_eq!((response.code, response.payload.as_slice()), (Code::CONTENT, b"2".as_slice()));
    }

    #[test]
    fn object_is_read_as_tlv_and_comes_back_by_the_tables() {
        for path in ["/1", "/3/0", "/5/0", "/26250/0"] {
            let response = answer(Method::Get, path, None);
            assert_eq!(response.content_format, Some(ContentFormat::TLV.0));
            let at: Path = path.parse().unwrap();
            let shown = values(&SHOWN, at);
            assert_eq!(codec::decode(ContentFormat::TLV, at, &response.payload).unwrap(), shown);
        }
    }

    #[test]
    fn single_opaque_value_is_read_as_octets() {
        let response = answer(Method::Get, "/26250/0/2", None);
        assert_eq!((response.content_format, response.payload.as_slice()), (Some(42), b"\x80".as_slice()));
        assert_eq!(answer(Method::Get, "/26250/0/1", None).payload, b"3");
        assert_eq!(answer(Method::Get, "/26250/0/0", None).code, Code::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn unknown_format_is_not_acceptable() {
        assert_eq!(answer(Method::Get, "/5/0", Some(ContentFormat::SENML_CBOR)).code, Code::NOT_ACCEPTABLE);
    }

    #[test]
    fn what_does_not_exist_is_not_found_and_what_cannot_be_read_is_not_allowed() {
        assert_eq!(answer(Method::Get, "/9/0", None).code, Code::NOT_FOUND);
        assert_eq!(answer(Method::Get, "/5/1", None).code, Code::NOT_FOUND);
        assert_eq!(answer(Method::Get, "/.well-known/core", None).code, Code::NOT_FOUND);
        assert_eq!(answer(Method::Get, "/5/0/0", None).code, Code::METHOD_NOT_ALLOWED);
        assert_eq!(answer(Method::Delete, "/5/0", None).code, Code::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn discover_lists_the_object_with_its_version_and_its_resources() {
        let response = answer(Method::Get, "/1", Some(ContentFormat::LINK_FORMAT));
        let text = String::from_utf8(response.payload).unwrap();
        assert_eq!(text, "</1>;ver=1.2,</1/0>,</1/0/0>,</1/0/1>,</1/0/6>,</1/0/7>,</1/0/8>");
        let response = answer(Method::Get, "/5/0/3", Some(ContentFormat::LINK_FORMAT));
        assert_eq!(response.payload, b"</5/0/3>");
    }

    #[test]
    fn package_is_taken_as_octet_stream_and_as_tlv() {
        let wanted = Ok(Command::Package(alloc::vec![1, 2]));
        assert_eq!(put("/5/0/0", ContentFormat::OCTET_STREAM, &[1, 2]), wanted);
        assert_eq!(put("/5/0/0", ContentFormat::TLV, &[0xC2, 0, 1, 2]), wanted);
    }

    #[test]
    fn nul_package_and_empty_uri_reset() {
        assert_eq!(put("/5/0/0", ContentFormat::OCTET_STREAM, &[0]), Ok(Command::Reset));
        assert_eq!(put("/5/0/1", ContentFormat::TEXT, b""), Ok(Command::Reset));
        assert_eq!(put("/5/0/1", ContentFormat::TEXT, b"coap://x/y"), Ok(Command::PackageUri));
    }

    #[test]
    fn state_cannot_be_written() {
        assert_eq!(put("/5/0/3", ContentFormat::TEXT, b"2").unwrap_err(), Code::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn lifetime_below_its_minimum_or_negative_is_refused() {
        assert_eq!(put("/1/0/1", ContentFormat::TEXT, b"60"), Ok(Command::SetLifetime(60)));
        for body in [b"9".as_slice(), b"-1", b"x"] {
            assert_eq!(put("/1/0/1", ContentFormat::TEXT, body).unwrap_err(), Code::BAD_REQUEST);
        }
    }

    #[test]
    fn each_executable_resource_is_its_own_command() {
        let executed = |path| command(&Request::new(Method::Post, path));
        assert_eq!(executed("/5/0/2"), Ok(Command::Install));
        assert_eq!(executed("/5/0/10"), Ok(Command::Cancel));
        assert_eq!(executed("/3/0/4"), Ok(Command::Reboot));
        assert_eq!(executed("/1/0/8"), Ok(Command::UpdateRegistration));
        assert_eq!(executed("/5/0/3").unwrap_err(), Code::METHOD_NOT_ALLOWED);
    }
}
