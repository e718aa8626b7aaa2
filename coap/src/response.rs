//! A response as the application sees it.

use crate::code::Code;
use crate::option::RawOption;
use crate::option::block::Block;
use crate::option::etag::ETag;
use crate::option::set::OptionSet;
use alloc::string::String;
use alloc::vec::Vec;

/// One response: code, options and the whole body, or one block of it if `block2` is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Outcome.
    pub code: Code,
    /// Content-Format of the body, by the number of the registry.
    pub content_format: Option<u16>,
    /// Entity-tag of the representation.
    pub etag: Option<ETag>,
    /// Freshness in seconds; absent means 60. With 5.03: seconds to wait before asking again.
    pub max_age: Option<u32>,
    /// Path segments of what was created.
    pub location_path: Vec<String>,
    /// Query arguments of what was created.
    pub location_query: Vec<String>,
    /// Set by an application that serves single blocks: the response is sent as it is. Set on a
    /// received response when the request asked for one block.
    pub block2: Option<Block>,
    /// Largest body the server takes, in bytes (with 4.13).
    pub size1: Option<u32>,
    /// Size of the whole body, in bytes; set by the endpoint where it slices a body.
    pub size2: Option<u32>,
    /// The whole body, or one block of it.
    pub payload: Vec<u8>,
    /// Options without a field here.
    pub other: Vec<RawOption>,
}

impl Response {
    /// Makes a response of this code without options and body.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            content_format: None,
            etag: None,
            max_age: None,
            location_path: Vec::new(),
            location_query: Vec::new(),
            block2: None,
            size1: None,
            size2: None,
            payload: Vec::new(),
            other: Vec::new(),
        }
    }

    /// Sets body and Content-Format.
    #[must_use]
    pub fn with_payload(mut self, content_format: u16, payload: Vec<u8>) -> Self {
        self.content_format = Some(content_format);
        self.payload = payload;
        self
    }

    pub(crate) fn from_options(code: Code, options: OptionSet, payload: Vec<u8>) -> Self {
        Self {
            code,
            content_format: options.content_format,
            etag: options.etags.into_iter().next(),
            max_age: options.max_age,
            location_path: options.location_path,
            location_query: options.location_query,
            block2: options.block2,
            size1: options.size1,
            size2: options.size2,
            payload,
            other: options.other,
        }
    }

    pub(crate) fn to_options(&self) -> OptionSet {
        OptionSet {
            content_format: self.content_format,
            etags: self.etag.into_iter().collect(),
            max_age: self.max_age,
            location_path: self.location_path.clone(),
            location_query: self.location_query.clone(),
            block2: self.block2,
            size1: self.size1,
            size2: self.size2,
            other: self.other.clone(),
            ..OptionSet::default()
        }
    }
}
