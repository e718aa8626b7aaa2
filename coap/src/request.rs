//! A request as the application sees it.

use crate::code::Method;
use crate::option::RawOption;
use crate::option::block::Block;
use crate::option::etag::ETag;
use crate::option::set::OptionSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One request: method, resource, options and the whole body.
///
/// A body larger than a block is sliced (Block1) when sent and put together when received, so
/// neither side of the application sees Block1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What to do with the resource.
    pub method: Method,
    /// Uri-Path segments, undecoded: no percent-encoding on the wire.
    pub path: Vec<String>,
    /// Uri-Query arguments, each `key=value` or `key`.
    pub query: Vec<String>,
    /// Content-Format of the body, by the number of the registry.
    pub content_format: Option<u16>,
    /// Content-Format wanted in the response.
    pub accept: Option<u16>,
    /// Entity-tags of representations that the client has; 2.03 names the one still valid.
    pub etags: Vec<ETag>,
    /// Sent: fetches exactly this block, which comes as one [`Response`](crate::Response) with
    /// its own `block2`. Received: the block the peer asks for; answer with that block and
    /// `block2` set, or with the whole body and `block2` unset, which is then sliced.
    pub block2: Option<Block>,
    /// Size2; zero asks for the size of the response's body.
    pub size2: Option<u32>,
    /// The whole body, in bytes at most `body_bytes_max`.
    pub payload: Vec<u8>,
    /// Whether the request travels reliably (CON) or not (NON).
    pub confirmable: bool,
    /// Options without a field here: all of them when received, Uri-Host and Uri-Port too.
    pub other: Vec<RawOption>,
}

impl Request {
    /// Makes a confirmable request without body for a path such as `/rd/5` or `rd/5`.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.split('/').filter(|segment| !segment.is_empty()).map(ToString::to_string).collect(),
            query: Vec::new(),
            content_format: None,
            accept: None,
            etags: Vec::new(),
            block2: None,
            size2: None,
            payload: Vec::new(),
            confirmable: true,
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

    /// Adds a query argument.
    #[must_use]
    pub fn with_query(mut self, argument: &str) -> Self {
        self.query.push(argument.to_string());
        self
    }

    /// Asks for exactly one block.
    #[must_use]
    pub fn with_block2(mut self, block: Block) -> Self {
        self.block2 = Some(block);
        self
    }

    /// Returns the value of the first query argument with this key.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query.iter().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn from_options(
        method: Method,
        options: OptionSet,
        payload: Vec<u8>,
        confirmable: bool,
    ) -> Self {
        Self {
            method,
            path: options.path,
            query: options.query,
            content_format: options.content_format,
            accept: options.accept,
            etags: options.etags,
            block2: options.block2,
            size2: options.size2,
            payload,
            confirmable,
            other: options.other,
        }
    }

    pub(crate) fn to_options(&self) -> OptionSet {
        OptionSet {
            path: self.path.clone(),
            query: self.query.clone(),
            content_format: self.content_format,
            accept: self.accept,
            etags: self.etags.clone(),
            block2: self.block2,
            size2: self.size2,
            other: self.other.clone(),
            ..OptionSet::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_split_at_slashes_and_query_found_by_its_whole_key() {
        let request = Request::new(Method::Post, "/rd/5").with_query("lt=60").with_query("l=1");
        assert_eq!(request.path, ["rd", "5"]);
        assert_eq!(request.query_value("l"), Some("1"));
        assert_eq!(request.query_value("ep"), None);
    }
}
