//! Measures how long patches take to make between images that search structures dislike, at growing sizes:
//! `cargo run --release -p bellwether-delta --features make --example adversarial [MIB]`.

#![expect(clippy::print_stdout, reason = "what it is for")]
#![expect(clippy::expect_used, reason = "a measurement that fails says where")]

use bellwether_delta::Patcher;
use bellwether_delta::make::make;

const MIB: usize = 1 << 20;

/// Name of a kind of image, and how to make one of so many bytes.
type Kind = (&'static str, fn(usize) -> Vec<u8>);

const KINDS: [Kind; 5] = [
    ("one byte", |bytes| vec![0xff; bytes]),
    ("period 4097", |bytes| noise(4097).into_iter().cycle().take(bytes).collect()),
    ("Fibonacci", fibonacci),
    ("random", noise),
    ("two letters", |bytes| noise(bytes).into_iter().map(|byte| byte & 1).collect()),
];

fn main() {
    let largest = std::env::args().nth(1).map_or(16, |mib| mib.parse().expect("a number of MiB"));
    println!("{:12} {:>5} {:>9} {:>9} {:>8} {:>9}", "IMAGE", "MIB", "PATCH B", "MAKE s", "s/MiB", "x IMAGE");
    for (name, image) in KINDS {
        let mut mib = 1;
        while mib <= largest {
            measure(name, &image(mib * MIB), mib);
            mib *= 4;
        }
    }
}

/// Makes a patch to the same image with a piece moved and another put in, and applies it.
fn measure(name: &str, base: &[u8], mib: usize) {
    let mut target = base.to_vec();
    let moved: Vec<u8> = target.drain(base.len() / 3..base.len() / 2).collect();
    target.extend(moved);
    target.splice(base.len() / 4..base.len() / 4, noise(100));
    // So that the peak is this image's alone; where the system has no such file, it is that of all so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let start = processor_seconds();
    let patch = make(base, &target).expect("images this small");
    let seconds = processor_seconds() - start;
    let peak = peak_bytes();

    let sizes = [base.len(), target.len()].map(|bytes| u32::try_from(bytes).expect("images this small"));
    let mut patcher =
        Patcher::new(patch.algorithm.0, sizes[0], sizes[1], &patch.parameters).expect("a patch");
    let mut made = Vec::new();
    patcher.push(&patch.bytes, &mut &*base, &mut made).expect("a patch for this base");
    patcher.finish(&mut &*base, &mut made).expect("a whole patch");
    assert!(made == target, "the patch makes another image");
    println!(
        "{name:12} {mib:5} {:9} {seconds:9.2} {:8.2} {:>9}",
        patch.bytes.len(),
        seconds / f64::from(u32::try_from(mib).expect("few")),
        peak / base.len()
    );
}

/// Time that this thread had the processor.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = status.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    std::time::Duration::from_nanos(nanoseconds.expect("a number")).as_secs_f64()
}

/// Bytes of memory that the process took at most.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok()).map_or(0, |kib| kib * 1024)
}

/// Bytes that look random.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next(&mut state)).collect()
}

/// The string whose every suffix has many near-repeats.
fn fibonacci(bytes: usize) -> Vec<u8> {
    let (mut one, mut two) = (vec![b'a'], b"ab".to_vec());
    while two.len() < bytes {
        let next = [&two[..], &one[..]].concat();
        (one, two) = (two, next);
    }
    two.truncate(bytes);
    two
}
