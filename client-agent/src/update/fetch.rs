//! Frames: verified, decrypted, and written to the spare slot of their component, one resource after the other.
//!
//! A full image goes to the beginning of the slot. A patch goes to its end and is applied from there when it is
//! complete: so a restart never loses more than the frames since the last write of the record, whatever is fetched,
//! and a patch is checked as a whole before the first byte of the image is written. The slot must hold patch and
//! image beside each other; a grant for which it does not is refused.
//!
//! Source: protocol.md §4.

use super::bounded::Bounded;
use super::install::staging_offset;
use super::record::{Granted, Place, Progress, Stage, State};
use super::updater::{OpenedKey, UpdateError, Updater};
use super::verify::RESULT_INTEGRITY;
use crate::platform::{Flash, Random};
use bellwether_keys::content::ContentCipher;
use bellwether_keys::wrap::{self, WrapAlgorithm};
use bellwether_keys::{ContentKey, derive};
use bellwether_manifests::frame::{DIGEST_BYTES, FrameError, Layout, Resume};
use bellwether_manifests::message::{GrantedResource, MessageError, Part, Resource};
use bellwether_manifests::report::Reason;

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fetched {
    /// It stands in the slot.
    Stored {
        /// Its number.
        number: u32,
        /// Frames that there are.
        of: u32,
    },
    /// It was not the announced one; ask for it again, alone.
    Altered {
        /// Its number.
        number: u32,
    },
    /// It came altered [`ALTERED_MAX`] times, or the chain cannot be followed: the grant was given up.
    GivenUp,
    /// No frame is awaited.
    Unasked,
}

/// A frame to fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameWanted {
    /// Digest of the first frame, which names the resource.
    pub root: [u8; 32],
    /// Number of the frame.
    pub number: u32,
    /// Frames that there are.
    pub of: u32,
    /// Bytes of a frame but the last: the size of a CoAP block.
    pub frame_bytes: usize,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Tells which frame is fetched next; `None` where none is.
    #[must_use]
    pub fn frame_wanted(&self) -> Option<FrameWanted> {
        let (granted, progress) = self.accepted()?;
        let descriptor = granted.descriptor().ok()?;
        let resource = descriptor.resources.get(progress.resource.into())?;
        let layout = layout(&resource).ok()?;
        (progress.frame < layout.frames()).then_some(FrameWanted {
            root: *resource.chain.root,
            number: progress.frame,
            of: layout.frames(),
            frame_bytes: usize::from(layout.block_bytes()) + DIGEST_BYTES,
        })
    }

    /// Takes the frame that [`Updater::frame_wanted`] named.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn frame(&mut self, frame: &[u8]) -> Result<Fetched, UpdateError<F::Error>> {
        let Some((granted, progress)) = self.accepted() else {
            return Ok(Fetched::Unasked);
        };
        let descriptor = granted.descriptor()?;
        let grant = granted.grant()?;
        let turn = usize::from(progress.resource);
        let (Some(resource), Some(key)) = (descriptor.resources.get(turn), grant.resources.get(turn)) else {
            return Ok(Fetched::Unasked);
        };
        let component = granted.component(resource.component).ok_or(MessageError::Bound(Part::Component))?;
        let layout = layout(&resource)?;
        let number = progress.frame;
        let mut resume = Resume { root: *resource.chain.root, frame: number, expected: progress.expected };
        let mut plain = [0; BLOCK_BYTES_MAX];
        let block = match resume.accept(&layout, frame) {
            Ok(block) => block,
            Err(FrameError::Complete) => return Ok(Fetched::Unasked),
            Err(error) => return self.count_altered(number, error),
        };
        let plain = &mut plain[..block.len()];
        plain.copy_from_slice(block);
        let at = layout.block_offset(number);
        let opened = self.opened_key(granted, progress.resource, &key)?;
        let mut cipher = ContentCipher::new(&opened.key, key.iv)
            .map_err(|_| MessageError::Bound(Part::InitialisationVector))?;
        cipher.apply_at(at, plain).map_err(|_| MessageError::Bound(Part::Content))?;
        let offset =
            u32::try_from(at).unwrap_or(u32::MAX).saturating_add(self.staging_start(component, &resource));
        let spare = self.spare(component);
        let next_root = descriptor.resources.get(turn + 1).map(|next| *next.chain.root);
        self.flash.write(spare, offset, plain).map_err(UpdateError::Flash)?;
        self.opened = Some(opened);
        self.altered = 0;
        let (resource, frame, expected) = (progress.resource, resume.frame, resume.expected);
        if frame < layout.frames() {
            self.advance(Progress { resource, frame, expected })?;
        } else {
            let expected = next_root.unwrap_or_default();
            self.advance(Progress { resource: resource.saturating_add(1), frame: 0, expected })?;
        }
        Ok(Fetched::Stored { number, of: layout.frames() })
    }

    /// Takes the news that the server does not have the resource any more: the grant is asked for again.
    pub fn resource_is_gone(&mut self) {
        if self.accepted().is_some() {
            self.ask_again = true;
        }
    }

    /// Forgets altered frames that came from a cache: what it does to them says nothing about the resource.
    pub fn forgive_altered(&mut self) {
        self.altered = 0;
    }

    pub(super) fn is_fetched(&self) -> bool {
        self.accepted().is_some() && self.frame_wanted().is_none()
    }

    pub(super) fn accepted(&self) -> Option<(&Granted, Progress)> {
        match self.record.granted()? {
            granted @ Granted { stage: Stage::Accepted(progress), .. } => Some((granted, *progress)),
            _ => None,
        }
    }

    /// Where the resource's plaintext begins in the spare slot.
    pub(super) fn staging_start(&self, component: usize, resource: &Resource<'_>) -> u32 {
        match resource.patch {
            None => 0,
            Some(_) => staging_offset(self.spare_bytes(component), resource.plain_bytes).unwrap_or(u32::MAX),
        }
    }

    /// Unwraps the content key under the keys of the grant's place.
    pub(super) fn content_key(
        &self,
        place: Place,
        resource: &GrantedResource<'_>,
    ) -> Result<Option<ContentKey>, UpdateError<F::Error>> {
        let (Ok(wrapping), Ok(algorithm)) =
            (WrapAlgorithm::try_from(resource.key.algorithm), resource.algorithm.try_into())
        else {
            return Ok(None);
        };
        let key = derive::wrap(&self.link(place)?, &place.of(self.facts.id), wrapping)?;
        Ok(wrap::unwrap(&key, &resource.key, algorithm).ok())
    }

    /// Gives the content key of a resource of the grant, unwrapped once a boot.
    fn opened_key(
        &self,
        granted: &Granted,
        turn: u8,
        resource: &GrantedResource<'_>,
    ) -> Result<OpenedKey, UpdateError<F::Error>> {
        let is_it = |opened: &&OpenedKey| (opened.grant, opened.resource) == (granted.number, turn);
        if let Some(opened) = self.opened.as_ref().filter(is_it) {
            return Ok(opened.clone());
        }
        // It was tried before the grant was accepted.
        let key = self.content_key(granted.place, resource)?.ok_or(MessageError::Bound(Part::WrappedKey))?;
        Ok(OpenedKey { grant: granted.number, resource: turn, key })
    }

    fn count_altered(&mut self, number: u32, error: FrameError) -> Result<Fetched, UpdateError<F::Error>> {
        self.altered = self.altered.saturating_add(1);
        let may_come_right = matches!(error, FrameError::Digest | FrameError::Length { .. });
        if may_come_right && self.altered < ALTERED_MAX {
            return Ok(Fetched::Altered { number });
        }
        self.fail(RESULT_INTEGRITY, Reason::OperationFailed)?;
        Ok(Fetched::GivenUp)
    }

    /// Moves on; writes the record now and then, and after the last frame of a resource.
    fn advance(&mut self, to: Progress) -> Result<(), UpdateError<F::Error>> {
        if let State::Granted(Granted { stage: Stage::Accepted(progress), .. }) = &mut self.record.state {
            *progress = to;
        }
        if to.frame.is_multiple_of(FRAMES_PER_RECORD) {
            self.save()?;
        }
        Ok(())
    }
}

/// Gives the path of a resource's frames: `/f/` and the root in hexadecimal.
#[must_use]
pub fn frames_path(root: &[u8; 32]) -> Bounded<FRAMES_PATH_BYTES> {
    let mut path = [0; FRAMES_PATH_BYTES];
    let (start, hex) = path.split_at_mut(FRAMES_PATH.len());
    start.copy_from_slice(FRAMES_PATH);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(root) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    Bounded::copy_of(&path).unwrap_or(Bounded::EMPTY)
}

fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + (value - 10),
    }
}

pub(super) fn layout(resource: &Resource<'_>) -> Result<Layout, MessageError> {
    Layout::new(resource.content_bytes, resource.chain.block_bytes)
        .map_err(|_| MessageError::Bound(Part::Chain))
}

/// Times that one frame may come altered before the grant is given up: a proxy that always serves the same wrong
/// bytes must not hold a device for ever.
pub const ALTERED_MAX: u8 = 8;

/// Frames between writes of the record: 16 KiB are fetched again at most, and a megabyte costs 66 writes.
pub const FRAMES_PER_RECORD: u32 = 16;

/// Path below which frames are served.
const FRAMES_PATH: &[u8] = b"/f/";

/// The path, and two digits for each byte of a digest.
pub const FRAMES_PATH_BYTES: usize = FRAMES_PATH.len() + 64;

/// Bytes of the largest block.
const BLOCK_BYTES_MAX: usize = 992;
