//! The heap of an image, which counts how much of it was used at the most.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use linked_list_allocator::Heap;

/// An allocator on `BYTES` bytes of static memory.
#[derive(Debug)]
pub struct Counted<const BYTES: usize> {
    memory: UnsafeCell<[MaybeUninit<u8>; BYTES]>,
    heap: UnsafeCell<Heap>,
    is_ready: AtomicBool,
    peak: AtomicUsize,
}

// SAFETY: the board has one core and takes no interrupts, so no two calls run beside each other; the memory and the list
// are reached through the allocator alone.
unsafe impl<const BYTES: usize> Sync for Counted<BYTES> {}

impl<const BYTES: usize> Counted<BYTES> {
    /// Makes one that is all free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([const { MaybeUninit::uninit() }; BYTES]),
            heap: UnsafeCell::new(Heap::empty()),
            is_ready: AtomicBool::new(false),
            peak: AtomicUsize::new(0),
        }
    }

    /// Tells how many bytes were used at the most, with what the list itself rounds up.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Tells how many bytes are used now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        // SAFETY: one caller at a time, as above, and no reference to the list outlives a call.
        unsafe { &*self.heap.get() }.used()
    }
}

impl<const BYTES: usize> Default for Counted<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: what the list gives out is inside of the memory, aligned as asked and given to nobody else; it is given the
// memory once, before its first use.
unsafe impl<const BYTES: usize> GlobalAlloc for Counted<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one caller at a time, as above, and no reference to the list outlives a call.
        let heap = unsafe { &mut *self.heap.get() };
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            // SAFETY: the memory is static, of this size, and used by the list alone.
            unsafe { heap.init(self.memory.get().cast(), BYTES) };
        }
        let given = heap.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr);
        self.peak.fetch_max(heap.used(), Ordering::Relaxed);
        given
    }

    unsafe fn dealloc(&self, given: *mut u8, layout: Layout) {
        let Some(given) = NonNull::new(given) else { return };
        // SAFETY: one caller at a time; the caller of `dealloc` promises that `given` came from `alloc` with this layout.
        unsafe { (*self.heap.get()).deallocate(given, layout) };
    }
}
