//! The heap of a device, in the block of memory that the C program gives; and the end after a panic.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use linked_list_allocator::Heap;

/// An allocator that has no memory until it is given some.
struct Block(UnsafeCell<Heap>);

// SAFETY: a device is called by one thread of execution at a time, as the header demands.
unsafe impl Sync for Block {}

#[global_allocator]
static BLOCK: Block = Block(UnsafeCell::new(Heap::empty()));

/// Takes a block of memory, instead of the one before.
///
/// # Safety
///
/// The block is of that many bytes, belongs to nobody else, and stays for as long as anything is allocated in it. Nothing
/// in the one before is used any more.
pub(super) unsafe fn take(block: *mut u8, bytes: usize) {
    // SAFETY: one caller at a time, as above, and no reference to the list outlives a call.
    let heap = unsafe { &mut *BLOCK.0.get() };
    *heap = Heap::empty();
    // SAFETY: the caller promises the block.
    unsafe { heap.init(block, bytes) };
}

/// Tells how many bytes were used at the most.
pub(super) fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: what the list gives out is inside of the block, aligned as asked and given to nobody else; without a block it
// gives nothing.
unsafe impl GlobalAlloc for Block {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one caller at a time, as above, and no reference to the list outlives a call.
        let heap = unsafe { &mut *self.0.get() };
        let given = heap.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr);
        PEAK.fetch_max(heap.used(), Ordering::Relaxed);
        given
    }

    unsafe fn dealloc(&self, given: *mut u8, layout: Layout) {
        let Some(given) = NonNull::new(given) else { return };
        // SAFETY: one caller at a time; the caller of `dealloc` promises that `given` came from `alloc` with this layout.
        unsafe { (*self.0.get()).deallocate(given, layout) };
    }
}

unsafe extern "C" {
    /// What the C program does when this library finds a fault in itself, or its memory is used up.
    fn bellwether_panic() -> !;
}

// It is not told where: names of files and lines of all panics would cost 10 KiB of flash.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the C program brings it; it is given no memory and does not come back.
    unsafe { bellwether_panic() }
}
