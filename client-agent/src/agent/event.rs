//! What the agent tells its shell: for logs, a status, and nothing else but [`Event::Reboot`] and [`Event::Stopped`].

use super::Route;
use super::route::Step;
use crate::update::record::Place;
use crate::update::{AnchorsTaken, Ignored, Unusable};
use bellwether_coap::{Code, Failure};
use bellwether_keys::mac::OpenError;
use bellwether_manifests::message::Moment;
use bellwether_manifests::report::Reason;

/// Something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server knows this device.
    Registered,
    /// Another server of the unit file is turned to.
    Server {
        /// Its index there.
        server: usize,
    },
    /// The server or the gateway refused something; the agent tries again later.
    Declined {
        /// Who.
        route: Route,
        /// What was asked for.
        purpose: Purpose,
        /// What it answered.
        code: Code,
    },
    /// No answer came; the session is given up.
    Unanswered {
        /// Whose.
        route: Route,
        /// What was asked for.
        purpose: Purpose,
        /// Why.
        failure: Failure,
    },
    /// The gateway failed a step too often: the server is asked for a while.
    Detour {
        /// Which step.
        purpose: Purpose,
    },
    /// A manifest was verified and stored; nothing was sent since.
    ManifestStored,
    /// A manifest was not followed.
    ManifestRefused {
        /// LwM2M Update Result.
        result: u8,
        /// Reason in the report.
        reason: Reason,
    },
    /// An update request goes out.
    Asked {
        /// Under which key.
        place: Place,
        /// Over which link.
        route: Route,
    },
    /// A grant is in the record; nothing was sent since.
    Granted {
        /// Digest of the base of a delta; `None` for a full image.
        base: Option<[u8; 32]>,
        /// Bytes that are fetched, without digests of frames.
        content_bytes: u64,
    },
    /// A grant is authentic and cannot be used; it is reported failed.
    GrantUnusable(Unusable),
    /// An answer was not for this device and request; it changed nothing.
    AnswerIgnored(Ignored),
    /// The server wants a proof of possession; the request goes out again with it.
    ProofAsked,
    /// Ask again later.
    PutOff {
        /// Seconds until then.
        wait_s: u64,
    },
    /// Refused for good.
    Refused {
        /// Number of the reason.
        reason: i64,
    },
    /// The device runs what it should.
    NothingToDo,
    /// The server says that the image may be started; that it will be was written.
    Go,
    /// The server took its word back: the grant was dropped, and its image is never started.
    Stop,
    /// An operator moved this identity on.
    Forwarded {
        /// Where it goes on.
        place: Place,
    },
    /// Another server, or another path, is to be asked.
    SentElsewhere {
        /// Index among the servers of the unit file; `None`: the same.
        server: Option<usize>,
    },
    /// A verdict of a kind that is not followed.
    VerdictNotFollowed {
        /// Kind of the verdict.
        kind: u8,
    },
    /// A frame stands in the spare slot.
    FrameStored {
        /// Its number.
        number: u32,
        /// Frames that there are.
        of: u32,
        /// Over which link it came.
        route: Route,
    },
    /// A frame came altered and is asked for again.
    FrameAltered {
        /// Its number.
        number: u32,
        /// Over which link it came.
        route: Route,
    },
    /// The server does not have the resource any more.
    ResourceGone,
    /// The image stands verified in the spare slot; nothing was sent since.
    Decrypted,
    /// The update was given up; the failure report is in the record.
    GivenUp,
    /// Whether the image may be started is asked first; that was written, nothing was sent since.
    GoWanted,
    /// Anchors came. What was taken is in flash; nothing was sent since.
    AnchorsOffered(AnchorsTaken),
    /// The next boot tries the new image; nothing was sent since.
    TrialBegun,
    /// A report goes out.
    Reporting(Moment),
    /// Its receipt came.
    Receipt(Moment),
    /// What came instead of a receipt is not one; the report is sent again.
    ReceiptIgnored(OpenError),
    /// Restart through the boot loader, once what is to be sent has been sent.
    Reboot,
    /// De-registered, or the server did not answer: the device may be switched off.
    Stopped,
}

/// What a request of the agent is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// To register.
    Register,
    /// To keep the registration.
    UpdateRegistration,
    /// To end it.
    Deregister,
    /// To show itself to the gateway.
    Hello,
    /// To deliver a report.
    Report,
    /// To ask for an update.
    Ask,
    /// To fetch a frame.
    Frame,
}

impl Purpose {
    /// Gives the step of an update that it is.
    pub(super) fn step(self) -> Option<Step> {
        match self {
            Self::Report => Some(Step::Report),
            Self::Ask => Some(Step::Ask),
            Self::Frame => Some(Step::Frame),
            Self::Register | Self::UpdateRegistration | Self::Deregister | Self::Hello => None,
        }
    }
}

impl From<Step> for Purpose {
    fn from(step: Step) -> Self {
        match step {
            Step::Report => Self::Report,
            Step::Ask => Self::Ask,
            Step::Frame => Self::Frame,
        }
    }
}
