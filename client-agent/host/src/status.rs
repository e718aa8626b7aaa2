//! The status file: how the device is, as JSON, replaced as a whole at each step.

use crate::header::{Header, Kind};
use bellwether_agent::agent::{Agent, Event, Route};
use bellwether_agent::lwm2m::firmware::State;
use bellwether_agent::platform::{Flash, Random};
use bellwether_agent::update::boot::Image;
use bellwether_agent::update::record::Place;
use bellwether_agent::update::{AnchorsTaken, Updater};
use bellwether_net::TrafficBytes;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::{Add, Sub};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How a device is; never a secret.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Status {
    /// Endpoint client name.
    pub(crate) endpoint: String,
    /// Class, as the vendor names it.
    pub(crate) class: String,
    /// `linux` or `microcontroller`.
    pub(crate) kind: &'static str,
    /// What the application runs.
    pub(crate) running: Running,
    /// What each component runs and got last, the application first.
    pub(crate) components: Vec<Component>,
    /// First line that the running image printed, for images that are programs.
    pub(crate) says: Option<String>,
    /// The key that is next.
    pub(crate) place: Position,
    /// Edition of the anchors that are believed.
    pub(crate) anchors_edition: u64,
    /// Whether a registration stands.
    pub(crate) registered: bool,
    /// How it sleeps, where it is in queue mode.
    pub(crate) queue_mode: Option<Sleep>,
    /// Index, among those of the unit file, of the server that is registered with or tried.
    pub(crate) server: usize,
    /// The gateway, where one is used.
    pub(crate) gateway: Option<Gateway>,
    /// What was asked since the process started.
    pub(crate) asked: Asked,
    /// What the newest grant was for.
    pub(crate) got: Option<Got>,
    /// UDP payload bytes since the process started, over all links.
    pub(crate) traffic: Traffic,
    /// Those of them that went over the link to the gateway, where one is used.
    pub(crate) traffic_gateway: Option<Traffic>,
    /// Object 5's state: `idle`, `downloading`, `downloaded`, `updating`.
    pub(crate) state: &'static str,
    /// Object 5's update result.
    pub(crate) result: u8,
    /// The newest verdict: `nothing`, `later`, `refused`, `prove`, `go`, `stop`, `forward`, `elsewhere`, or one that was
    /// not followed by its number.
    pub(crate) verdict: Option<String>,
    /// Number of a refusal's reason, as the server counts them.
    pub(crate) refused: Option<i64>,
    /// Why the newest update, manifest or answer was not followed.
    pub(crate) reason: Option<String>,
    /// Reports that wait for their receipt.
    pub(crate) reports_waiting: usize,
    /// Whether an update was installed since the process started and its report acknowledged.
    pub(crate) updated: bool,
    /// The newest event, for people.
    pub(crate) event: String,
}

/// How a device in queue mode sleeps; counted since the process started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Sleep {
    /// Whether its radio is off.
    pub(crate) asleep: bool,
    /// Times that it fell asleep.
    pub(crate) times: u32,
    /// Datagrams that came while it slept, and are lost.
    pub(crate) missed: u64,
}

/// How the gateway serves; counted since the process started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Gateway {
    /// Whether a session stands.
    pub(crate) connected: bool,
    /// Update requests that went to it.
    pub(crate) asked: u32,
    /// Frames that came from it and were right.
    pub(crate) frames: u32,
    /// Frames that came from it altered.
    pub(crate) altered: u32,
    /// Times that it was passed by for having failed a step too often.
    pub(crate) detours: u32,
}

/// An image that runs.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Running {
    /// SHA-256 in hexadecimal.
    pub(crate) digest: String,
    /// Version, empty where nobody told it.
    pub(crate) version: String,
    /// Bytes.
    pub(crate) bytes: u32,
}

/// A component.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Component {
    /// Its name.
    pub(crate) name: String,
    /// What runs.
    pub(crate) running: Running,
    /// What the newest grant was for; none where it left the component as it was.
    pub(crate) got: Option<Got>,
}

/// A place in the key chain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Position {
    /// Which seed.
    pub(crate) epoch: u16,
    /// Updates that were confirmed under it.
    pub(crate) index: u16,
}

/// Update requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Asked {
    /// How many.
    pub(crate) requests: u32,
    /// Under which key the newest was.
    pub(crate) place: Option<Position>,
}

/// What was granted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Got {
    /// `full` or `delta`.
    pub(crate) kind: &'static str,
    /// SHA-256 of the delta's base, in hexadecimal.
    pub(crate) base: Option<String>,
    /// Bytes as carried, without the digests of frames.
    pub(crate) content_bytes: u64,
}

/// UDP payload bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Traffic {
    /// Received, handshakes apart.
    pub(crate) application_in: u64,
    /// Sent, handshakes apart.
    pub(crate) application_out: u64,
    /// Received in handshakes.
    pub(crate) handshake_in: u64,
    /// Sent in handshakes.
    pub(crate) handshake_out: u64,
}

/// The file, if one is wanted, or who is told in its place.
pub(crate) enum StatusFile {
    /// Nobody is told.
    Nobody,
    /// A file is replaced.
    File(PathBuf),
    /// Somebody in this process is told.
    Watched(Watch),
}

/// Who is told at each step how a device is.
pub(crate) type Watch = Box<dyn Fn(&Status)>;

impl Sleep {
    /// Takes over that the radio was switched.
    pub(crate) fn switched(&mut self, asleep: bool, missed: u64) {
        self.times += u32::from(asleep && !self.asleep);
        (self.asleep, self.missed) = (asleep, missed);
    }
}

impl Traffic {
    /// Sums all of it up.
    pub(crate) fn all(self) -> u64 {
        self.application_in + self.application_out + self.handshake_in + self.handshake_out
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            application_in: self.application_in + other.application_in,
            application_out: self.application_out + other.application_out,
            handshake_in: self.handshake_in + other.handshake_in,
            handshake_out: self.handshake_out + other.handshake_out,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        Self {
            application_in: self.application_in.saturating_sub(part.application_in),
            application_out: self.application_out.saturating_sub(part.application_out),
            handshake_in: self.handshake_in.saturating_sub(part.handshake_in),
            handshake_out: self.handshake_out.saturating_sub(part.handshake_out),
        }
    }
}

impl From<TrafficBytes> for Traffic {
    fn from(bytes: TrafficBytes) -> Self {
        Self {
            application_in: bytes.application_in,
            application_out: bytes.application_out,
            handshake_in: bytes.handshake_in,
            handshake_out: bytes.handshake_out,
        }
    }
}

impl Status {
    /// Starts with what never changes.
    #[must_use]
    pub(crate) fn new(endpoint: &str, header: &Header, gateway: bool) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            class: header.class.clone(),
            kind: match header.kind {
                Kind::Linux => "linux",
                Kind::Microcontroller => "microcontroller",
            },
            state: "idle",
            components: header
                .components
                .iter()
                .map(|component| Component { name: component.name.clone(), ..Component::default() })
                .collect(),
            gateway: gateway.then(Gateway::default),
            ..Self::default()
        }
    }

    /// Takes over what the record says.
    pub(crate) fn read_record<F: Flash, R: Random>(&mut self, updater: &Updater<'_, F, R>) {
        self.running = Running::from(updater.running());
        for (number, component) in self.components.iter_mut().enumerate() {
            component.running = Running::from(updater.running_of(number));
            if updater.record().granted().is_some() {
                let granted = updater.resources().find(|granted| granted.component == number);
                component.got = granted.map(|granted| Got::new(granted.base, granted.content_bytes));
            }
        }
        let record = updater.record();
        self.place = record.place.into();
        self.anchors_edition = updater.anchors_edition();
        self.result = record.outcome.result;
        self.refused = record.outcome.refused;
        self.reports_waiting = record.reports.iter().flatten().count();
    }

    /// Takes over what the agent shows.
    pub(crate) fn read_agent<F: Flash, R: Random>(&mut self, agent: &Agent<'_, F, R>) {
        self.read_record(agent.updater());
        self.registered = agent.is_registered();
        self.server = agent.server();
        self.state = match agent.firmware_state() {
            State::Idle => "idle",
            State::Downloading => "downloading",
            State::Downloaded => "downloaded",
            State::Updating => "updating",
        };
    }

    /// Takes over whether a session with the gateway stands.
    pub(crate) fn gateway_is_connected(&mut self, connected: bool) {
        if let Some(gateway) = &mut self.gateway {
            gateway.connected = connected;
        }
    }

    /// Takes over what happened.
    pub(crate) fn take(&mut self, event: &Event) {
        if let Some(gateway) = &mut self.gateway {
            gateway.take(event);
        }
        match event {
            Event::ManifestStored => (self.verdict, self.reason) = (None, None),
            Event::ManifestRefused { result, reason } => {
                self.reason = Some(format!("manifest refused: {reason:?}, result {result}"));
            }
            Event::Asked { place, .. } => {
                self.asked.requests += 1;
                self.asked.place = Some((*place).into());
            }
            Event::Granted { base, content_bytes } => {
                (self.verdict, self.reason) = (None, None);
                self.got = Some(Got::new(*base, *content_bytes));
            }
            Event::GrantUnusable(unusable) => self.reason = Some(format!("grant not usable: {unusable}")),
            Event::AnswerIgnored(ignored) => self.reason = Some(format!("answer ignored: {ignored}")),
            Event::ProofAsked => self.verdict = Some("prove".to_owned()),
            Event::PutOff { wait_s } => {
                self.verdict = Some("later".to_owned());
                self.reason = Some(format!("put off for {wait_s} s"));
            }
            Event::Refused { reason } => {
                self.verdict = Some("refused".to_owned());
                self.reason = Some(format!("refused by the server, reason {reason}"));
            }
            Event::NothingToDo => self.verdict = Some("nothing".to_owned()),
            Event::Go => self.verdict = Some("go".to_owned()),
            Event::Stop => {
                self.verdict = Some("stop".to_owned());
                self.reason = Some("the server took the grant back".to_owned());
            }
            Event::Forwarded { .. } => self.verdict = Some("forward".to_owned()),
            Event::SentElsewhere { .. } => self.verdict = Some("elsewhere".to_owned()),
            Event::AnchorsOffered(AnchorsTaken::Refused(error)) => {
                self.reason = Some(format!("anchors refused: {error}"));
            }
            Event::AnchorsOffered(AnchorsTaken::TooLong) => {
                self.reason = Some("anchors refused: too long".to_owned());
            }
            Event::VerdictNotFollowed { kind } => self.verdict = Some(kind.to_string()),
            Event::GivenUp => self.reason = Some("update given up".to_owned()),
            _ => {}
        }
        self.event = format!("{event:?}");
    }
}

impl Got {
    fn new(base: Option<[u8; 32]>, content_bytes: u64) -> Self {
        let kind = if base.is_some() { "delta" } else { "full" };
        Self { kind, base: base.map(hex::encode), content_bytes }
    }
}

impl From<&Image> for Running {
    fn from(image: &Image) -> Self {
        Self {
            digest: hex::encode(image.digest),
            version: image.version_text().to_owned(),
            bytes: image.bytes,
        }
    }
}

impl Gateway {
    fn take(&mut self, event: &Event) {
        let count = match event {
            Event::Asked { route: Route::Gateway, .. } => &mut self.asked,
            Event::FrameStored { route: Route::Gateway, .. } => &mut self.frames,
            Event::FrameAltered { route: Route::Gateway, .. } => &mut self.altered,
            Event::Detour { .. } => &mut self.detours,
            _ => return,
        };
        *count += 1;
    }
}

impl From<Place> for Position {
    fn from(place: Place) -> Self {
        Self { epoch: place.epoch, index: place.index }
    }
}

impl StatusFile {
    /// Names the file; `None` for none.
    #[must_use]
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        path.map_or(Self::Nobody, Self::File)
    }

    /// Names who is told in the place of a file.
    #[must_use]
    pub(crate) fn watched(watch: Watch) -> Self {
        Self::Watched(watch)
    }

    /// Replaces the file: a reader sees the status before or this one, whole.
    pub(crate) fn write(&self, status: &Status) {
        let path = match self {
            Self::Nobody => return,
            Self::File(path) => path,
            Self::Watched(watch) => return watch(status),
        };
        if let Err(error) = replace(path, status) {
            // A device does not stop for a full disk of its observer.
            tracing::warn!(path = %path.display(), %error, "the status file cannot be written");
        }
    }
}

fn replace(path: &Path, status: &Status) -> io::Result<()> {
    // Always the same name: what a power cut leaves of it is written over, where random names would gather.
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut text = serde_json::to_vec_pretty(status)?;
    text.push(b'\n');
    let written = file.write_all(&text).and_then(|()| fs::rename(&temporary, path));
    written.inspect_err(|_| {
        // The error says more than a failure to clear up after it.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::tests::header;

    #[test]
    fn file_is_replaced_and_tells_what_was_granted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let file = StatusFile::new(Some(path.clone()));
        let mut status = Status::new("lamp-1", &header(), false);
        file.write(&status);
        status.take(&Event::Granted { base: Some([0xAB; 32]), content_bytes: 77 });
        file.write(&status);
        let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((&read["endpoint"], &read["got"]["kind"]), (&"lamp-1".into(), &"delta".into()));
        assert_eq!(read["got"]["base"], "ab".repeat(32));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refusal_is_told_with_its_reason() {
        let mut status = Status::new("meter-1", &header(), false);
        status.take(&Event::Refused { reason: 18 });
        assert_eq!(status.verdict.as_deref(), Some("refused"));
        assert_eq!(status.reason.as_deref(), Some("refused by the server, reason 18"));
    }

    #[test]
    fn gateway_is_told_with_what_it_served_and_only_where_there_is_one() {
        let stored = |route| Event::FrameStored { number: 0, of: 2, route };
        let mut status = Status::new("meter-2", &header(), true);
        status.gateway_is_connected(true);
        status.take(&stored(Route::Gateway));
        status.take(&stored(Route::Server));
        assert_eq!(status.gateway, Some(Gateway { connected: true, frames: 1, ..Gateway::default() }));
        assert_eq!(Status::new("lamp-1", &header(), false).gateway, None);
    }

    #[test]
    fn who_watches_is_told_every_status() {
        let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let kept = std::rc::Rc::clone(&told);
        let file =
            StatusFile::watched(Box::new(move |status| kept.borrow_mut().push(status.endpoint.clone())));
        file.write(&Status::new("node-1", &header(), false));
        file.write(&Status::new("node-2", &header(), false));
        assert_eq!(*told.borrow(), ["node-1", "node-2"]);
    }

    #[test]
    fn status_that_cannot_be_written_does_not_stop_the_device() {
        let path = PathBuf::from("/nonexistent/status.json");
        StatusFile::new(Some(path)).write(&Status::default());
    }
}
