//! What a program of the board costs, read from its symbols.
//!
//! Link-time optimisation puts a function into the one that calls it, and its bytes count there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::program;

/// Bytes of a program.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// Everything that stands in flash: code, constants, what static data begins as.
    pub flash: u64,
    /// Code and constants with a name, by part; what is left over is constants without one.
    pub parts: BTreeMap<&'static str, u64>,
    /// Static RAM.
    pub ram: u64,
    /// The heap in it.
    pub heap: u64,
}

impl Sizes {
    /// Reads a program that was linked for the board.
    ///
    /// # Panics
    ///
    /// Where the tools do not read it.
    pub fn of(elf: &Path) -> Self {
        let mut sizes = Self::default();
        for line in run("arm-none-eabi-size", &["-A"], elf).lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(bytes))) = (words.next(), words.next().map(str::parse::<u64>)) else {
                continue;
            };
            match name {
                ".vectors" | ".text" | ".rodata" => sizes.flash += bytes,
                ".data" => (sizes.flash, sizes.ram) = (sizes.flash + bytes, sizes.ram + bytes),
                ".bss" => sizes.ram += bytes,
                _ => {}
            }
        }
        let mut counted = BTreeSet::new();
        for line in run("arm-none-eabi-nm", &["-S", "-C"], elf).lines() {
            sizes.count(line, &mut counted);
        }
        sizes
    }

    /// Counts a line: address, bytes, kind, name. The linker gives functions that are the same one place: it counts once,
    /// for the first of its names.
    fn count(&mut self, line: &str, counted: &mut BTreeSet<String>) {
        let mut words = line.splitn(4, ' ');
        let (place, bytes, kind, name) = (words.next(), words.next(), words.next(), words.next());
        let (Some(place), Some(bytes), Some(kind), Some(name)) = (place, bytes, kind, name) else { return };
        let Ok(bytes) = u64::from_str_radix(bytes, 16) else { return };
        if !counted.insert(place.to_owned()) {
            return;
        }
        match kind {
            "t" | "T" | "r" | "R" => *self.parts.entry(part(name)).or_default() += bytes,
            "b" | "B" if name.ends_with("::HEAP") => self.heap += bytes,
            _ => {}
        }
    }
}

/// Functions of a program by their addresses, with their bytes and the first of their names.
pub(super) fn symbols(elf: &Path) -> BTreeMap<u64, (u64, String)> {
    let text = run("arm-none-eabi-nm", &["-S", "-C"], elf);
    let functions = text.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (address, bytes) = (number()?, number()?);
        let (kind, name) = (words.next()?, words.next()?);
        matches!(kind, "t" | "T").then(|| (address, (bytes, name.to_owned())))
    });
    let mut symbols = BTreeMap::new();
    for (address, function) in functions {
        symbols.entry(address).or_insert(function);
    }
    symbols
}

/// The part that a symbol belongs to: that of the first crate in its name which has one.
pub(super) fn part(name: &str) -> &'static str {
    let of = |crates: &[&str]| crates.iter().filter_map(|one| name.find(one)).min();
    let parts = PARTS.iter().filter_map(|(part, crates)| Some((of(crates)?, *part)));
    parts.min_by_key(|(at, _)| *at).map_or(REST, |(_, part)| part)
}

fn run(tool: &str, flags: &[&str], elf: &Path) -> String {
    let mut command = program::system_command(&Path::new("/usr/bin").join(tool));
    let output = command.args(flags).arg(elf).output().expect("a tool of binutils");
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Parts of the firmware, each with its crates, or what of a crate is its own.
const PARTS: [(&str, &[&str]); 8] = [
    ("  update core", &["bellwether_agent::update"]),
    ("  manifests", &["bellwether_manifests", "minicbor"]),
    (
        "  keys, hashes, ciphers",
        &["bellwether_keys", "sha2", "hmac", "hkdf", "aes", "ctr::", "cipher::", "digest::"],
    ),
    ("  delta", &["bellwether_delta"]),
    (
        "  P-256",
        &["p256", "primeorder", "primefield", "elliptic_curve", "crypto_bigint", "ecdsa", "ff::", "wnaf"],
    ),
    ("  LwM2M agent", &["bellwether_agent::agent", "lwm2m_rs"]),
    ("  CoAP", &["bellwether_coap"]),
    (
        "  network, board, shell",
        &["smoltcp", "managed::", "heapless", "bellwether_board", "bellwether_firmware"],
    ),
];

/// The language's own library, and constants that the linker named.
const REST: &str = "  core, alloc, constants";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_belongs_to_the_first_crate_in_its_name() {
        assert_eq!(part("bellwether_agent::update::verify::verify"), "  update core");
        assert_eq!(part("<bellwether_manifests::cose::key::P256 as p256::Thing>::verify"), "  manifests");
        assert_eq!(part("bellwether_agent::agent::Agent<F,R>::handle_timeout"), "  LwM2M agent");
        assert_eq!(part("core::fmt::float::float_to_decimal"), REST);
    }

    #[test]
    fn lines_of_functions_and_of_the_heap_are_counted() {
        let (mut sizes, mut counted) = (Sizes::default(), BTreeSet::new());
        for line in [
            "0001c35c 00000010 t bellwether_coap::endpoint::send",
            "0001c35c 00000010 t bellwether_keys::mac::the_same_bytes",
            "0001c36c 00000001 R smoltcp::TABLE",
            "20000000 B __bss_start",
            "20000000 0000c020 b bellwether_firmware::HEAP",
            "00010040 T reset",
        ] {
            sizes.count(line, &mut counted);
        }
        assert_eq!(
            (sizes.parts["  CoAP"], sizes.parts["  network, board, shell"], sizes.heap),
            (16, 1, 0xc020)
        );
        assert_eq!(sizes.parts.len(), 2);
    }
}
