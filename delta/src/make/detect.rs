//! Finds out what an image's code is made for, and where the image stands when it runs. A wrong guess costs bytes only.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use crate::fields::{self, Architecture, Field, POINTER};
use crate::space::{REGIONS_MAX, Region, Space, WINDOWS_MAX, Window};

/// Returns the bytes from `at` on, the first one lowest, zeros past the end.
pub(crate) fn bytes_at(image: &[u8], at: usize) -> u64 {
    let rest = &image[at.min(image.len())..];
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_le_bytes(*bytes);
    }
    rest.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte))
}

/// Walks along all instructions and fields of an image, from its start on.
pub(crate) fn walk(
    image: &[u8],
    architecture: Architecture,
    space: &Space,
    address: impl Fn(u32) -> u32,
    mut visit: impl FnMut(usize, Field),
) {
    let (mut at, mut instruction_at) = (0, 0);
    while at < image.len() {
        let bytes = bytes_at(image, at);
        let is_instruction = at >= instruction_at;
        if is_instruction {
            instruction_at = at + architecture.instruction_bytes(bytes) as usize;
        }
        let place = address(at as u32);
        let field = fields::recognise(architecture, bytes, at as u32, place, space, is_instruction)
            .filter(|field| at + field.length() as usize <= image.len());
        match field {
            Some(field) => {
                visit(at, field);
                at += field.length() as usize;
                instruction_at = instruction_at.max(at);
            }
            None => at += 1,
        }
    }
}

/// Guesses the architecture: the one whose calls go most often to where others go as well.
pub(crate) fn architecture(image: &[u8]) -> Architecture {
    let image = &image[..image.len().min(SEEN_BYTES)];
    let mut best = (Architecture::Plain, 0.0);
    for architecture in Architecture::ALL.into_iter().skip(1) {
        let (mut count, mut targets) = (0_u32, BTreeMap::<u32, u32>::new());
        let space = Space::default();
        walk(
            image,
            architecture,
            &space,
            |at| at,
            |at, field| {
                let is_far = (field.target as usize).abs_diff(at) > 64;
                if field.kind() == CALL && is_far {
                    count += 1;
                    if (field.target as usize) < image.len() {
                        *targets.entry(field.target).or_default() += 1;
                    }
                }
            },
        );
        let shared: u32 = targets.values().filter(|&&count| count > 1).sum();
        let score = f64::from(shared) / f64::from(count.max(16)) * f64::from(shared).sqrt();
        if score > best.1 {
            best = (architecture, score);
        }
    }
    if best.1 > CALLS_MIN { best.0 } else { Architecture::Plain }
}

/// Kind of a call or jump in every architecture.
const CALL: usize = 1;
/// Score of an image of which a few functions are known to be called twice.
const CALLS_MIN: f64 = 1.0;

/// Guesses where both images stand.
pub(crate) fn space(base: &[u8], target: &[u8], architecture: Architecture) -> Space {
    let mut space = Space::default();
    if architecture == Architecture::Plain {
        return space;
    }
    if let Some(segments) = segments(base).zip(segments(target)) {
        put_segments(&mut space, &segments.0, &segments.1);
    } else if architecture != Architecture::Avr {
        let address = load_address(base, architecture).unwrap_or(0);
        space.regions_count = 1;
        space.regions[0] = Region { address, length: base.len() as u32, ..Region::default() };
    }
    if architecture != Architecture::Avr {
        put_windows(&mut space, base);
    }
    space
}

/// Segments of an ESP32 image: file offset of the data, address, length.
///
/// Source: ESP-IDF, "Firmware Image Format".
fn segments(image: &[u8]) -> Option<Vec<(u32, u32)>> {
    let count = usize::from(*image.get(1)?);
    if image[0] != 0xe9 || count == 0 || count > REGIONS_MAX - 1 {
        return None;
    }
    let mut found = Vec::new();
    let mut at = 24_usize;
    for _ in 0..count {
        let head = image.get(at..at + 8)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        found.push((at as u32 + 8, word(0)));
        at = at.checked_add(8)?.checked_add(word(4) as usize)?;
        if at > image.len() {
            return None;
        }
    }
    Some(found)
}

fn put_segments(space: &mut Space, base: &[(u32, u32)], target: &[(u32, u32)]) {
    for ((region, base), target) in space.regions.iter_mut().zip(base).zip(target) {
        *region = Region { address: base.1, base_start: base.0, target_start: target.0, length: 0 };
        space.regions_count += 1;
    }
    // The first one covers the header as well.
    let first = &mut space.regions[0];
    first.address = first.address.wrapping_sub(first.base_start);
    first.target_start = first.target_start.wrapping_sub(first.base_start);
    first.base_start = 0;
}

/// Votes for the address at which most pointers point to functions that are called.
fn load_address(image: &[u8], architecture: Architecture) -> Option<u32> {
    let image = &image[..image.len().min(SEEN_BYTES)];
    let mut called = vec![Vec::new(); 256];
    let mut seen = vec![false; image.len()];
    walk(
        image,
        architecture,
        &Space::default(),
        |at| at,
        |_, field| {
            if field.kind() == CALL
                && let Some(seen) = seen.get_mut(field.target as usize)
                && !*seen
            {
                *seen = true;
                called[field.target as usize & 0xff].push(field.target);
            }
        },
    );
    let is_thumb = architecture == Architecture::Thumb;
    let mut pointers: Vec<u32> = image
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .filter(|&value| (value & 1 == 1) == is_thumb && value > 0x100 && value < 0xf000_0000)
        .map(|value| value & !1)
        .collect();
    pointers.sort_unstable();
    pointers.dedup();
    let mut votes = BTreeMap::<u32, u32>::new();
    let mut pages: Vec<&[u32]> = pointers.chunk_by(|one, other| one >> 20 == other >> 20).collect();
    pages.retain(|pages| pages.len() >= 12);
    // An image points into few places; where it seems to point everywhere, its bytes are no pointers.
    pages.sort_by_key(|pages| core::cmp::Reverse(pages.len()));
    for pages in pages.into_iter().take(PAGES_MAX) {
        let step = pages.len().div_ceil(POINTERS_MAX);
        for &pointer in pages.iter().step_by(step) {
            for start in called[pointer as usize & 0xff].iter().take(CALLED_MAX) {
                if let Some(address) = pointer.checked_sub(*start).filter(|address| *address < 0xc000_0000) {
                    *votes.entry(address).or_default() += 1;
                }
            }
        }
    }
    let most = votes.into_iter().max_by_key(|&(address, count)| (count, core::cmp::Reverse(address)))?;
    (most.1 >= VOTES_MIN).then_some(most.0)
}

/// Pointers of one MiB that vote, at most.
const POINTERS_MAX: usize = 2000;
/// Bytes of an image that tell what it is; more would only take longer.
const SEEN_BYTES: usize = 4 << 20;
/// Pieces of one MiB whose pointers vote, at most, and functions that each of them is held against: what real images
/// have, and a bound for bytes that only look like them.
const PAGES_MAX: usize = 16;
const CALLED_MAX: usize = 256;
const VOTES_MIN: u32 = 4;

/// Finds the pages of RAM that many words point into.
fn put_windows(space: &mut Space, image: &[u8]) {
    let mut pages = BTreeMap::<u16, usize>::new();
    for word in image.chunks_exact(4) {
        *pages.entry(u16::from_le_bytes([word[2], word[3]])).or_default() += 1;
    }
    let enough = (image.len() / 4 / 600).max(4);
    for (page, _) in pages.into_iter().filter(|&(page, count)| count > enough && is_ram(page)) {
        let latest = space.windows_count.checked_sub(1).map(|at| &mut space.windows[at]);
        match latest {
            Some(window) if u32::from(window.start) + u32::from(window.count) == u32::from(page) => {
                window.count = window.count.saturating_add(1);
            }
            _ if space.windows_count < WINDOWS_MAX => {
                space.windows[space.windows_count] = Window { start: page, count: 1 };
                space.windows_count += 1;
            }
            _ => {}
        }
    }
}

/// Whether microcontrollers have RAM there: Cortex-M, ESP32 and kin, and large ones.
const fn is_ram(page: u16) -> bool {
    matches!(page, 0x1fff..=0x200f | 0x1000..=0x1008 | 0x2400..=0x2407 | 0x3ff8..=0x400f | 0x3fc0..=0x3fef | 0x4080..=0x408f)
}

/// Clears what fields point to, so that code that only moved looks the same.
pub(crate) fn masked(
    image: &[u8],
    architecture: Architecture,
    space: &Space,
    address: impl Fn(u32) -> u32,
) -> Vec<u8> {
    let mut masked = image.to_vec();
    if architecture == Architecture::Plain {
        return masked;
    }
    walk(image, architecture, space, &address, |at, field| {
        let length = field.length() as usize;
        let place = address(at as u32);
        let is_absolute = field.is_absolute(architecture);
        // What is near moves along, and a distance that changed tells of other code.
        if !is_absolute && place.wrapping_add(NEAR_BYTES).wrapping_sub(field.target) < 2 * NEAR_BYTES {
            return;
        }
        // A distance of zero, or a target of zero: the same bytes wherever the field stands.
        let goal = if is_absolute { 0 } else { place & !0xfff };
        let cleared = if field.kind() == POINTER {
            0
        } else {
            fields::relocated(field, bytes_at(image, at), goal, place & !0xfff)
        };
        masked[at..at + length].copy_from_slice(&cleared.to_le_bytes()[..length]);
    });
    masked
}

/// Code this near is mostly of the same function.
const NEAR_BYTES: u32 = 1024;
