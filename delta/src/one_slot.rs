//! Patches for a slot that base and target share.
//!
//! Page by page, in the order that the patch says: the page of the base is copied to a spare one, its place is erased, and
//! the target's page is written there; then the patcher writes itself down. At every moment either the page of the base
//! is whole, or its copy is, and the checkpoint says by a digest how it was: whatever write the power goes in, the
//! newest whole checkpoint finds all that its next page needs.

use crate::apply::{PatcherOf, Pause};
use crate::codec::Spares;
use crate::digest::Hash;
use crate::error::{ApplyError, PatchError};
use crate::image::{Base, OUT_BYTES};
use crate::order::{Layout, Order};
use crate::store::Store;

/// A slot that holds the base and becomes the target, spare pages, and room for two checkpoints.
pub trait Slot {
    /// Why flash could not be read or written.
    type Error;

    /// Says what there is.
    fn room(&self) -> Room;

    /// Fills `buf` with what stands from `offset` of an area on.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn read(&mut self, area: Area, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Erases `bytes` from `offset` on: one page of the patch, a multiple of [`Room::erase_bytes`].
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn erase(&mut self, area: Area, offset: u32, bytes: u32) -> Result<(), Self::Error>;

    /// Writes erased bytes: [`OUT_BYTES`] at a multiple of them; fewer at the end of an image.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn write(&mut self, area: Area, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes the next piece of a checkpoint. One at 0 starts a new checkpoint, over the older of two.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn save(&mut self, at: u32, piece: &[u8]) -> Result<(), Self::Error>;
}

/// Part of a device's flash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Area {
    /// Where the base stands, and the target afterwards.
    Slot,
    /// The spare pages, one after the other.
    Spare,
}

/// What a device has for patches in place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// Bytes that are erased at a time.
    pub erase_bytes: u32,
    /// Bytes of the slot.
    pub slot_bytes: u32,
    /// Bytes of all spare pages.
    pub spare_bytes: u32,
}

/// How far a slot is, besides what the codec knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Pages whose place the target has taken, or is taking.
    pub(crate) begun: u32,
    /// Whether the next page of the base was copied before a power cut, and perhaps erased.
    pub(crate) is_copied: bool,
}

struct OneSlot<'a, D> {
    device: &'a mut D,
    order: Order,
    progress: Progress,
    /// Where the target goes on.
    next: u32,
    /// Where pages of the base are kept, if the patch tells it.
    spares: Option<Spares>,
}

impl<D: Slot> OneSlot<'_, D> {
    fn page_bytes(&self) -> u32 {
        self.order.layout.map_or(OUT_BYTES as u32, Layout::page_bytes)
    }

    /// Where the copy of the page that is begun next stands, or will.
    #[cfg_attr(target_os = "none", inline(never))]
    fn spare_at(&self) -> u32 {
        let spare_pages = self.order.layout.map_or(1, Layout::spare_pages);
        self.page_bytes() * self.spares.map_or(self.progress.begun % spare_pages, |spares| spares.spare)
    }

    /// Where the copy of a page of the base stands, if its place was taken.
    #[cfg_attr(target_os = "none", inline(never))]
    fn copy_at(&self, page: u32) -> Option<u32> {
        // What was copied before a power cut may be gone from its place, though that was not taken anew yet.
        let copied = self.progress.begun + u32::from(self.progress.is_copied);
        let spare = if let Some(spares) = &self.spares {
            spares.of(page).filter(|_| page != spares.page || copied >= spares.begun)?
        } else {
            let index = self.order.index(page);
            let spare_pages = self.order.layout.map_or(1, Layout::spare_pages);
            Some(index % spare_pages).filter(|_| page < self.order.pages() && index < copied)?
        };
        Some(self.page_bytes() * spare)
    }

    /// Bytes that the base has in a page.
    fn base_bytes(&self, start: u32) -> u32 {
        self.order.base_size.saturating_sub(start).min(self.page_bytes())
    }

    /// Copies a page of the base to its spare one, and erases its place.
    fn begin_page(&mut self, start: u32) -> Result<(), D::Error> {
        let (bytes, spare_at) = (self.page_bytes(), self.spare_at());
        if !self.progress.is_copied {
            self.device.erase(Area::Spare, spare_at, bytes)?;
            let (mut piece, mut at) = ([0; OUT_BYTES], 0);
            while at < self.base_bytes(start) {
                let length = (self.base_bytes(start) - at).min(OUT_BYTES as u32);
                let piece = &mut piece[..length as usize];
                self.device.read(Area::Slot, start + at, piece)?;
                self.device.write(Area::Spare, spare_at + at, piece)?;
                at += length;
            }
        }
        self.progress = Progress { begun: self.progress.begun + 1, is_copied: false };
        self.device.erase(Area::Slot, start, bytes)
    }

    /// First bytes of the SHA-256 of what the base has in a page, or of its copy.
    fn digest(&mut self, area: Area, at: u32, mut bytes: u32) -> Result<u64, D::Error> {
        let (mut hash, mut piece, mut at) = (Hash::new(), [0; 64], at);
        while bytes > 0 {
            let length = bytes.min(piece.len() as u32);
            let piece = &mut piece[..length as usize];
            self.device.read(area, at, piece)?;
            hash.take(piece);
            (at, bytes) = (at + length, bytes - length);
        }
        Ok(hash.end().first_chunk().map_or(0, |first| u64::from_le_bytes(*first)))
    }

    /// Finds out whether the page that is begun next was copied before the power went.
    fn find_page(&mut self, given: u32, expected: u64) -> Result<Result<(), PatchError>, D::Error> {
        if given == self.order.target_size {
            return Ok(Ok(()));
        }
        let start = self.next;
        let bytes = self.base_bytes(start);
        if self.digest(Area::Slot, start, bytes)? == expected {
            return Ok(Ok(()));
        }
        let copy = self.digest(Area::Spare, self.spare_at(), bytes)?;
        self.progress.is_copied = true;
        Ok(if copy == expected { Ok(()) } else { Err(PatchError::Checkpoint) })
    }
}

impl<D: Slot> Store for OneSlot<'_, D> {
    type Read = D::Error;
    type Write = D::Error;

    fn check(&mut self, order: &Order) -> Result<(), PatchError> {
        let layout = order.layout.ok_or(PatchError::InPlace)?;
        let (page, room) = (layout.page_bytes(), self.device.room());
        let slot = order.base_size.max(order.target_size).next_multiple_of(page);
        let spare = layout.spare_pages().saturating_mul(page);
        let fits = room.erase_bytes > 0 && page.is_multiple_of(room.erase_bytes);
        if !fits || slot > room.slot_bytes || spare > room.spare_bytes {
            return Err(PatchError::Room { slot, spare, page });
        }
        self.order = *order;
        Ok(())
    }

    fn base(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), D::Error> {
        let page_bytes = self.page_bytes();
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let start = at - at % page_bytes;
            let length = (start + page_bytes - at).min(rest.len() as u32);
            let (piece, more) = rest.split_at_mut(length as usize);
            match self.copy_at(start / page_bytes) {
                Some(copy_at) => self.device.read(Area::Spare, copy_at + (at - start), piece)?,
                None => self.device.read(Area::Slot, at, piece)?,
            }
            (at, rest) = (at + length, more);
        }
        Ok(())
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), D::Error> {
        if at.is_multiple_of(self.page_bytes()) {
            self.begin_page(at)?;
        }
        self.device.write(Area::Slot, at, bytes)
    }

    fn back(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), D::Error> {
        self.device.read(Area::Slot, at, bytes)
    }
}

impl<const WORDS: usize> PatcherOf<WORDS> {
    /// Takes the next piece of a patch in place, of any size, and writes the pages that it completes.
    ///
    /// Before the first page, the patch is checked against the slot's room and the whole base. After each, and before the first,
    /// a checkpoint is saved.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; after one, every further piece is [`PatchError::GivenUp`].
    pub fn push_in_place<D: Slot>(
        &mut self,
        input: &[u8],
        device: &mut D,
    ) -> Result<(), ApplyError<D::Error, D::Error>> {
        let mut rest = input;
        loop {
            let (taken, is_paused) =
                self.in_slot(device, |patcher, store| patcher.take(rest, Pause::Page, store))?;
            rest = rest.get(taken..).unwrap_or_default();
            if is_paused {
                self.save_in_place(device)?;
            } else if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends a patch in place; the slot then holds the target, and its digest was checked.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; [`PatchError::Incomplete`] where the patch ended in its header.
    pub fn finish_in_place<D: Slot>(&mut self, device: &mut D) -> Result<(), ApplyError<D::Error, D::Error>> {
        while self.in_slot(device, |patcher, store| patcher.run(true, Pause::Page, store))? {
            self.save_in_place(device)?;
        }
        self.finished()
    }

    /// Goes on from a checkpoint that [`Slot::save`] was given, with the patch from [`Self::patch_at`] on.
    ///
    /// # Errors
    ///
    /// [`PatchError::Checkpoint`] where it is torn or not of this slot: the older one is then whole.
    /// [`PatchError::Room`], [`PatchError::State`].
    pub fn resume_in_place<D: Slot, C: Base<Error = D::Error>>(
        checkpoint: &mut C,
        device: &mut D,
    ) -> Result<Self, ApplyError<D::Error, D::Error>> {
        let (mut patcher, page) = Self::read(checkpoint)?;
        patcher.in_slot(device, |patcher, store| {
            let order = patcher.order().ok_or(PatchError::Checkpoint)?;
            store.check(&order)?;
            let given = patcher.produced();
            store.progress.begun = match &store.spares {
                // The page that comes next is told already.
                Some(spares) if given == order.target_size => spares.begun,
                Some(spares) if store.next.is_multiple_of(store.page_bytes()) => spares.begun - 1,
                Some(_) => return Err(PatchError::Checkpoint.into()),
                None => order.begun(given).ok_or(PatchError::Checkpoint)?,
            };
            Ok(store.find_page(given, page).map_err(ApplyError::Base)??)
        })?;
        Ok(patcher)
    }

    fn save_in_place<D: Slot>(&mut self, device: &mut D) -> Result<(), ApplyError<D::Error, D::Error>> {
        let given = self.produced();
        let page = self.in_slot(device, |_, store| {
            if given == store.order.target_size {
                return Ok(0);
            }
            let start = store.next;
            store.digest(Area::Slot, start, store.base_bytes(start)).map_err(ApplyError::Base)
        })?;
        self.write(page, |at, piece| device.save(at, piece)).map(|_| ()).map_err(ApplyError::Sink)
    }

    fn in_slot<D: Slot, T>(
        &mut self,
        device: &mut D,
        act: impl FnOnce(&mut Self, &mut OneSlot<'_, D>) -> Result<T, ApplyError<D::Error, D::Error>>,
    ) -> Result<T, ApplyError<D::Error, D::Error>> {
        let order = self.order().unwrap_or(Order { base_size: 0, target_size: 0, layout: None });
        let (next, spares) = self.pages().unwrap_or_default();
        let mut store = OneSlot { device, order, progress: self.progress, next, spares };
        let done = act(self, &mut store);
        self.progress = store.progress;
        self.given_up_if_failed(done)
    }
}
