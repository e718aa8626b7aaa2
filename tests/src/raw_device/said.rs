//! What a server says to a request, opened under the asker's key.

use bellwether_keys::mac::{self, Reply};
use bellwether_keys::{DownKey, signed};
use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::{P256, Sign1};
use bellwether_manifests::message::{
    Answer, Descriptor, Detail, Digest, Grant, ResourceKind, Wrapped, content_format, word,
};
use bellwether_net::coap::{Code, Response};

use super::Request;

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A grant with its descriptor, both verified.
    Grant(Box<Granted>),
    /// A verdict: nothing to do.
    Nothing,
    /// A verdict: ask again after so many seconds.
    Later(u64),
    /// A verdict: refused, with number and text.
    Refused(i64, String),
    /// A verdict: prove it with this echo.
    Prove(Vec<u8>),
    /// A verdict: swap now; number of the grant.
    Go(u64),
    /// A verdict: do not swap; number of the grant.
    Stop(u64),
    /// A verdict under the key of another place: go on from there.
    Forward {
        /// Index of that place.
        index: u16,
        /// Fork head there.
        fork: [u8; 8],
        /// Highest grant number that was given.
        grant: u64,
    },
    /// No answer of the protocol, only a code.
    Code(Code),
}

/// A grant and what its descriptor says of the one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// Its number.
    pub number: u64,
    /// Its place.
    pub index: u16,
    /// Manifest.
    pub manifest: Digest,
    /// Bytes of the answer.
    pub answer: Vec<u8>,
    /// Whether it is a delta.
    pub delta: bool,
    /// Root of the frames.
    pub root: Digest,
    /// Where the frames are.
    pub location: String,
    /// Digest of the content.
    pub content: Digest,
    /// Bytes of the content.
    pub content_bytes: u64,
    /// Content of a frame.
    pub block_bytes: u16,
    /// Digest of the image in the end.
    pub installed: Digest,
    /// Initialisation vector.
    pub iv: Vec<u8>,
    /// Whether confirming it leads to a new seed.
    pub reseed: bool,
    /// The server's share for that seed, where the grant is signed.
    pub server_share: Option<Vec<u8>>,
    /// Whether it wants to be asked "go?".
    pub ask_go: bool,
    key: (i64, Vec<u8>),
}

impl Granted {
    /// The wrapped content key.
    pub fn wrapped(&self) -> Wrapped<'_> {
        Wrapped { algorithm: self.key.0, ephemeral: None, wrapped: &self.key.1 }
    }
}

/// Opens an answer.
pub(super) fn read(
    key: impl Fn(u16) -> DownKey,
    request: &Request,
    response: &Response,
    anchors: &[u8],
) -> Said {
    if response.code != Code::CHANGED {
        assert!(response.payload.is_empty(), "a refusal without MAC says nothing: {response:?}");
        return Said::Code(response.code);
    }
    assert_eq!(response.content_format, Some(content_format::ANSWER));
    let answer = Answer::decode(&response.payload).expect("an Answer");
    let place = mac::peek_place(answer.message).expect("a place");
    if let Ok(signer) = signed::signer_of_grant(answer.message) {
        let signer = Anchors::initial(anchors).expect("anchors").distributor(signer).expect("a distributor");
        let grant =
            signed::open_signed_grant(&P256, &signer, &place, answer.message).expect("a signed grant");
        assert!(place.index == request.index && grant.options.shares.is_some(), "{grant:?}");
        let descriptor = answer.descriptor.expect("a descriptor beside the grant");
        return Said::Grant(Box::new(granted(&grant, descriptor, &response.payload, anchors)));
    }
    let reply = mac::open_reply(&key(place.index), &request.nonce, answer.message)
        .expect("an answer under a key of the asker");
    let forwards =
        matches!(reply, Reply::Verdict(verdict) if matches!(verdict.detail, Detail::Forward { .. }));
    assert!(forwards || place.index == request.index, "an answer for another place");
    match reply {
        Reply::Grant(grant) => {
            let descriptor = answer.descriptor.expect("a descriptor beside the grant");
            Said::Grant(Box::new(granted(&grant, descriptor, &response.payload, anchors)))
        }
        Reply::Verdict(verdict) => match verdict.detail {
            Detail::Nothing => Said::Nothing,
            Detail::Later(later) => Said::Later(later.delay_s),
            Detail::Refused { reason, text } => Said::Refused(reason, text.to_owned()),
            Detail::Prove(echo) => Said::Prove(echo.to_vec()),
            Detail::Go(grant) => Said::Go(grant),
            Detail::Stop(grant) => Said::Stop(grant),
            Detail::Forward { fork, grant } => {
                Said::Forward { index: verdict.place.index, fork: *fork, grant }
            }
            other @ Detail::Elsewhere(_) => panic!("a verdict that this server does not give: {other:?}"),
        },
    }
}

fn granted(grant: &Grant<'_>, descriptor: &[u8], answer: &[u8], anchors: &[u8]) -> Granted {
    let anchors = Anchors::initial(anchors).expect("anchors");
    let message = Sign1::parse(descriptor).expect("a signed descriptor");
    let signer = anchors.distributor(message.kid()).expect("a distributor of the anchors");
    let payload = message.verify(&[word::DESCRIPTOR], &signer).expect("the distributor's signature");
    let descriptor = Descriptor::decode(payload).expect("a descriptor");
    assert_eq!((descriptor.manifest, descriptor.selector), (grant.manifest, grant.selector));
    let resource = descriptor.resource(0).expect("the resource of component 0");
    let right = grant.resource(0).expect("the key of component 0");
    assert_eq!((resource.content, resource.installed), (right.content, right.installed));
    Granted {
        number: grant.grant,
        index: grant.place.index,
        manifest: *grant.manifest,
        answer: answer.to_vec(),
        delta: resource.kind == ResourceKind::Delta,
        root: *resource.chain.root,
        location: resource.locations.get(0).expect("a location").to_owned(),
        content: *resource.content,
        content_bytes: resource.content_bytes,
        block_bytes: resource.chain.block_bytes,
        installed: *resource.installed,
        iv: right.iv.to_vec(),
        reseed: grant.options.reseed == Some(true),
        server_share: grant.options.shares.map(|shares| shares.server.to_vec()),
        ask_go: grant.options.ask_go == Some(true),
        key: (right.key.algorithm, right.key.wrapped.to_vec()),
    }
}
