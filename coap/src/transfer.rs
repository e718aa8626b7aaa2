//! Block-wise progress of one request of ours (RFC 7959): which message comes next, and what a
//! response means for it. Pure: no timer, no message id.

use crate::code::Code;
use crate::config::Config;
use crate::event::BlockwiseError;
use crate::option::block::{Block, BlockSize};
use crate::option::set::OptionSet;
use crate::request::Request;
use crate::response::Response;
use crate::slice::{number_at, slice};

/// What a transfer must know of the endpoint's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransferBounds {
    pub(crate) block_size: BlockSize,
    pub(crate) body_bytes_max: usize,
    pub(crate) restarts_max: u32,
}

/// One request with the progress of its bodies.
#[derive(Debug)]
pub(crate) struct Transfer {
    request: Request,
    bounds: TransferBounds,
    phase: Phase,
    restarts: u32,
}

#[derive(Debug)]
enum Phase {
    /// The request as a whole in one message; no block of the response was taken yet.
    Whole,
    /// `sent` bytes of the body were taken by the peer.
    Upload { sent: usize, size: BlockSize },
    /// The blocks of the response so far, their payloads joined in `head`.
    Download { head: Response, size: BlockSize },
}

/// What a response leads to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Send [`Transfer::next`].
    Next,
    Deliver(Response),
    Fail(BlockwiseError),
}

impl Phase {
    fn first(request: &Request, size: BlockSize) -> Self {
        if request.payload.len() > size.bytes() { Self::Upload { sent: 0, size } } else { Self::Whole }
    }
}

impl From<&Config> for TransferBounds {
    fn from(config: &Config) -> Self {
        Self {
            block_size: config.block_size,
            body_bytes_max: config.body_bytes_max,
            restarts_max: config.restarts_max,
        }
    }
}

impl Transfer {
    pub(crate) fn new(request: Request, bounds: TransferBounds) -> Self {
        let phase = Phase::first(&request, bounds.block_size);
        Self { request, bounds, phase, restarts: 0 }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Returns options and payload of the message to send now.
    pub(crate) fn next(&self) -> (OptionSet, &[u8]) {
        let mut options = self.request.to_options();
        let body = self.request.payload.as_slice();
        match &self.phase {
            Phase::Whole => {
                options.block2 = options.block2.or_else(|| self.early_size());
                (options, body)
            }
            Phase::Upload { sent, size } => {
                let sliced = slice(body, number_at(*sent, *size), *size);
                options.block1 = sliced.map(|(block, _)| block);
                // RFC 7959 §4: Size1 tells the server beforehand how much is to come.
                options.size1 = (*sent == 0).then(|| bytes_u32(body.len()));
                (options, sliced.map_or(&[], |(_, bytes)| bytes))
            }
            Phase::Download { head, size } => {
                let number = number_at(head.payload.len(), *size);
                options.block2 = Some(Block::ask(number, *size));
                // RFC 8132 §2: the body of a FETCH is part of what it asks for. Any other body
                // was acted on already (RFC 7959 §3.3 goes on without it).
                let repeated = self.request.method.is_safe() && body.len() <= size.bytes();
                (options, if repeated { body } else { &[] })
            }
        }
    }

    /// RFC 7959 §2.4: a client that wants smaller blocks says so with its first request.
    fn early_size(&self) -> Option<Block> {
        let small = self.bounds.block_size < BlockSize::MAX && self.request.method.is_safe();
        small.then(|| Block::first(self.bounds.block_size))
    }

    /// Takes the response to the last message; `block1` is its Block1 option.
    pub(crate) fn take(&mut self, response: Response, block1: Option<Block>) -> Step {
        match self.phase {
            Phase::Upload { sent, size } => self.take_in_upload(sent, size, response, block1),
            _ => self.take_answer(response),
        }
    }

    fn take_in_upload(
        &mut self,
        sent: usize,
        size: BlockSize,
        response: Response,
        block1: Option<Block>,
    ) -> Step {
        let end = sent + size.bytes();
        let more = end < self.request.payload.len();
        // Without `more` in its Block1, a success to a block that is not the last means that the
        // server acts on each block by itself (RFC 7959 §2.3); the next one is still due.
        let taken = block1.filter(|block| {
            more && block.number == number_at(sent, size)
                && (response.code == Code::CONTINUE || (response.code.is_success() && !block.more))
        });
        if let Some(block) = taken {
            // RFC 7959 §2.3: the client SHOULD use the size the server indicated, or a smaller
            // one, in all further requests of the sequence.
            let size = size.min(block.size);
            self.phase = Phase::Upload { sent: end, size };
            return Step::Next;
        }
        if let Some(size) = self.smaller_size(sent, size, &response, block1) {
            self.phase = Phase::Upload { sent: 0, size };
            return Step::Next;
        }
        if response.code.is_success() && more {
            return Step::Fail(BlockwiseError::UnexpectedBlock);
        }
        self.phase = Phase::Whole;
        self.take_answer(response)
    }

    /// RFC 7959 §2.9.3: a 4.13 with a smaller size in its Block1 hints that blocks of this size
    /// would be taken.
    fn smaller_size(
        &self,
        sent: usize,
        size: BlockSize,
        response: &Response,
        block1: Option<Block>,
    ) -> Option<BlockSize> {
        let bytes = bytes_u32(self.request.payload.len());
        let too_large = response.size1.is_some_and(|max| max < bytes);
        let hinted = response.code == Code::REQUEST_ENTITY_TOO_LARGE && sent == 0 && !too_large;
        block1.map(|block| block.size).filter(|hint| hinted && *hint < size)
    }

    fn take_answer(&mut self, response: Response) -> Step {
        if response.code == Code::CONTINUE {
            return Step::Fail(BlockwiseError::UnexpectedBlock);
        }
        if !response.code.is_success() {
            return Step::Deliver(response);
        }
        match (self.request.block2, response.block2) {
            (Some(asked), Some(block)) if asked.offset_bytes() != block.offset_bytes() => {
                Step::Fail(BlockwiseError::UnexpectedBlock)
            }
            (None, Some(block)) => self.take_block(block, response),
            (None, None) if matches!(self.phase, Phase::Download { .. }) => {
                Step::Fail(BlockwiseError::UnexpectedBlock)
            }
            (Some(_), _) | (None, None) => Step::Deliver(response),
        }
    }

    fn take_block(&mut self, block: Block, response: Response) -> Step {
        if self.has_changed(&response) {
            return self.restart();
        }
        let held = match &self.phase {
            Phase::Download { head, .. } => head.payload.len(),
            _ => 0,
        };
        let whole = response.payload.len() == block.size.bytes();
        let fits = whole || (!block.more && response.payload.len() < block.size.bytes());
        if block.offset_bytes() != held || !fits {
            return Step::Fail(BlockwiseError::UnexpectedBlock);
        }
        let announced = response.size2.unwrap_or(0) as usize;
        let bytes = (held + response.payload.len()).max(announced);
        if bytes > self.bounds.body_bytes_max || block.number == Block::NUMBER_MAX {
            return Step::Fail(BlockwiseError::TooLarge);
        }
        self.append(block, response)
    }

    fn append(&mut self, block: Block, response: Response) -> Step {
        let mut head = match core::mem::replace(&mut self.phase, Phase::Whole) {
            Phase::Download { mut head, .. } => {
                head.payload.extend_from_slice(&response.payload);
                head
            }
            _ => response,
        };
        head.block2 = None;
        if !block.more {
            return Step::Deliver(head);
        }
        let size = block.size.min(self.bounds.block_size);
        self.phase = Phase::Download { head, size };
        Step::Next
    }

    /// RFC 7959 §2.4: the client MUST compare the `ETag` options of the blocks it joins.
    fn has_changed(&self, response: &Response) -> bool {
        match &self.phase {
            Phase::Download { head, .. } => (head.code, head.etag) != (response.code, response.etag),
            _ => false,
        }
    }

    fn restart(&mut self) -> Step {
        if self.restarts >= self.bounds.restarts_max || !self.request.method.is_safe() {
            return Step::Fail(BlockwiseError::Changed);
        }
        self.restarts += 1;
        self.phase = Phase::first(&self.request, self.bounds.block_size);
        Step::Next
    }
}

fn bytes_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Method;
    use crate::option::etag::ETag;
    use alloc::vec;

    const BOUNDS: TransferBounds =
        TransferBounds { block_size: BlockSize::MAX, body_bytes_max: 4096, restarts_max: 1 };

    fn size(exponent: u8) -> BlockSize {
        BlockSize::from_exponent(exponent).unwrap()
    }

    fn upload(bytes: usize) -> Transfer {
        let request = Request::new(Method::Put, "/5/0/0").with_payload(42, vec![7; bytes]);
        Transfer::new(request, BOUNDS)
    }

    fn download() -> Transfer {
        Transfer::new(Request::new(Method::Get, "/a"), BOUNDS)
    }

    fn block(number: u32, more: bool, exponent: u8) -> Block {
        Block { number, more, size: size(exponent) }
    }

    fn content(number: u32, more: bool, tag: u8) -> Response {
        let mut response = Response::new(Code::CONTENT).with_payload(42, vec![tag; 1024]);
        response.block2 = Some(block(number, more, 6));
        response.etag = ETag::new(&[tag]).ok();
        response
    }

    fn goes_on(transfer: &mut Transfer, block1: Block) -> Block {
        let step = transfer.take(Response::new(Code::CONTINUE), Some(block1));
        assert_eq!(step, Step::Next);
        transfer.next().0.block1.unwrap()
    }

    #[test]
    fn body_of_one_block_is_sent_whole() {
        assert_eq!(upload(1024).next().0.block1, None);
        assert_eq!(upload(1025).next().0.block1, Some(block(0, true, 6)));
        assert_eq!(upload(1025).next().0.size1, Some(1025));
    }

    // RFC 7959 §2.3
    #[test]
    fn smaller_size_of_the_server_is_used_from_the_next_block_on() {
        let mut transfer = upload(2000);
        assert_eq!(goes_on(&mut transfer, block(0, true, 3)), block(8, true, 3));
        assert_eq!(transfer.next().1.len(), 128);
        assert_eq!(goes_on(&mut transfer, block(8, true, 3)), block(9, true, 3));
    }

    #[test]
    fn too_large_with_smaller_size_starts_again_but_only_if_the_body_would_fit() {
        let mut refused = Response::new(Code::REQUEST_ENTITY_TOO_LARGE);
        let mut transfer = upload(2000);
        let step = transfer.take(refused.clone(), Some(block(0, true, 2)));
        assert_eq!(step, Step::Next);
        assert_eq!(transfer.next().0.block1, Some(block(0, true, 2)));
        refused.size1 = Some(1999);
        let step = upload(2000).take(refused.clone(), Some(block(0, true, 2)));
        assert_eq!(step, Step::Deliver(refused));
    }

    #[test]
    fn continue_for_another_block_or_for_the_last_one_fails() {
        let next = Response::new(Code::CONTINUE);
        let failed = Step::Fail(BlockwiseError::UnexpectedBlock);
        assert_eq!(upload(2000).take(next.clone(), Some(block(1, true, 6))), failed);
        assert_eq!(upload(2000).take(next.clone(), None), failed);
        assert_eq!(upload(10).take(next, Some(block(0, true, 6))), failed);
    }

    #[test]
    fn error_in_the_middle_of_an_upload_is_the_answer() {
        let incomplete = Response::new(Code::REQUEST_ENTITY_INCOMPLETE);
        let step = upload(2000).take(incomplete.clone(), None);
        assert_eq!(step, Step::Deliver(incomplete));
    }

    #[test]
    fn server_that_acts_on_each_block_gets_all_of_them() {
        let mut transfer = upload(2000);
        let changed = Response::new(Code::CHANGED);
        let step = transfer.take(changed.clone(), Some(block(0, false, 6)));
        assert_eq!(step, Step::Next);
        assert_eq!(transfer.next().0.block1, Some(block(1, false, 6)));
        let step = transfer.take(changed.clone(), Some(block(1, false, 6)));
        assert_eq!(step, Step::Deliver(changed));
    }

    #[test]
    fn blocks_are_joined_and_delivered_with_the_first_blocks_options() {
        let mut transfer = download();
        assert_eq!(transfer.take(content(0, true, 9), None), Step::Next);
        assert_eq!(transfer.next().0.block2, Some(block(1, false, 6)));
        let Step::Deliver(whole) = transfer.take(content(1, false, 9), None) else {
            panic!("not delivered");
        };
        assert_eq!((whole.payload.len(), whole.block2), (2048, None));
    }

    #[test]
    fn changed_etag_starts_again_and_fails_when_it_keeps_changing() {
        let mut transfer = download();
        assert_eq!(transfer.take(content(0, true, 1), None), Step::Next);
        assert_eq!(transfer.take(content(1, true, 2), None), Step::Next);
        assert_eq!(transfer.next().0.block2, None);
        assert_eq!(transfer.take(content(0, true, 2), None), Step::Next);
        let step = transfer.take(content(1, true, 3), None);
        assert_eq!(step, Step::Fail(BlockwiseError::Changed));
    }

    #[test]
    fn body_past_the_bound_fails_at_the_block_or_at_its_size_option() {
        let mut transfer = download();
        for number in 0..4 {
            assert_eq!(transfer.take(content(number, true, 1), None), Step::Next);
        }
        let step = transfer.take(content(4, true, 1), None);
        assert_eq!(step, Step::Fail(BlockwiseError::TooLarge));
        let mut announced = content(0, true, 1);
        announced.size2 = Some(5000);
        let step = download().take(announced, None);
        assert_eq!(step, Step::Fail(BlockwiseError::TooLarge));
    }

    #[test]
    fn wrong_number_and_short_block_with_more_fail() {
        let failed = Step::Fail(BlockwiseError::UnexpectedBlock);
        assert_eq!(download().take(content(1, true, 1), None), failed);
        let mut short = content(0, true, 1);
        short.payload.truncate(1000);
        assert_eq!(download().take(short, None), failed);
    }

    #[test]
    fn single_block_is_delivered_as_it_is_and_another_one_fails() {
        let asked = Request::new(Method::Get, "/f").with_block2(block(7, false, 6));
        let mut transfer = Transfer::new(asked.clone(), BOUNDS);
        assert_eq!(transfer.next().0.block2, asked.block2);
        let step = transfer.take(content(7, true, 1), None);
        assert_eq!(step, Step::Deliver(content(7, true, 1)));
        let step = Transfer::new(asked, BOUNDS).take(content(8, true, 1), None);
        assert_eq!(step, Step::Fail(BlockwiseError::UnexpectedBlock));
    }

    // RFC 7959 §2.4
    #[test]
    fn small_block_size_of_ours_is_asked_for_with_the_first_request() {
        let bounds = TransferBounds { block_size: size(2), ..BOUNDS };
        let transfer = Transfer::new(Request::new(Method::Get, "/a"), bounds);
        assert_eq!(transfer.next().0.block2, Some(block(0, false, 2)));
    }
}
