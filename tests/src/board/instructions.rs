//! How many instructions a board executed, by the parts of its firmware: counted by a plugin of the emulator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::sizes::{part, symbols};
use crate::program::{self, Program};

/// Compiles the plugin into a folder, and gives its path.
///
/// # Panics
///
/// Where the compiler refuses.
pub fn counter(folder: &Path) -> PathBuf {
    let (source, counter) = (folder.join("count.c"), folder.join("count.so"));
    fs::write(&source, include_str!("count.c")).expect("written");
    let mut command = program::system_command(Path::new("/usr/bin/cc"));
    command.args(["-shared", "-fPIC", "-O2", "-fvisibility=hidden"]).arg(source).arg("-o").arg(&counter);
    let (status, said) = Program::run(command);
    assert!(status.success(), "{said}");
    counter
}

/// Instructions of a run.
#[derive(Clone, Debug, Default)]
pub struct Instructions {
    functions: BTreeMap<String, u64>,
    verifications: u64,
}

impl Instructions {
    /// Reads what the counter wrote, with the names of a program that was linked for the board.
    ///
    /// # Panics
    ///
    /// Where it cannot be read.
    pub fn read(counted: &Path, elf: &Path) -> Self {
        let symbols = symbols(elf);
        let mut instructions = Self::default();
        for line in fs::read_to_string(counted).expect("what was counted").lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("three numbers");
            let address = u64::from_str_radix(word(), 16).expect("an address");
            let [executed, times] = [word(), word()].map(|word| word.parse().expect("a number"));
            instructions.count(&symbols, address, executed, times);
        }
        instructions
    }

    fn count(&mut self, symbols: &BTreeMap<u64, (u64, String)>, address: u64, executed: u64, times: u64) {
        let Some((start, (bytes, name))) = symbols.range(..=address).next_back() else { return };
        // The boot loader's, or no function's.
        if address >= start + bytes {
            return;
        }
        *self.functions.entry(name.clone()).or_default() += executed;
        if name.contains(VERIFY) && address == *start {
            self.verifications += times;
        }
    }

    /// Gives the instructions of parts of the firmware, without what the parts need of the language's library.
    pub fn of_parts(&self, parts: &[&str]) -> u64 {
        self.of(|name| parts.contains(&part(name).trim()))
    }

    /// Gives the instructions of the functions whose names contain one of these.
    pub fn of_functions(&self, names: &[&str]) -> u64 {
        self.of(|function| names.iter().any(|name| function.contains(name)))
    }

    fn of(&self, is_wanted: impl Fn(&str) -> bool) -> u64 {
        self.functions.iter().filter(|(name, _)| is_wanted(name)).map(|(_, executed)| executed).sum()
    }

    /// Tells how many signatures were verified.
    pub fn verifications(&self) -> u64 {
        self.verifications
    }
}

/// The function that verifies a signature.
const VERIFY: &str = "SignatureVerifier>::verify";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_count_for_the_function_that_they_stand_in() {
        let name = "<bellwether_manifests::cose::key::P256 as SignatureVerifier>::verify";
        let symbols = BTreeMap::from([
            (0x1_0000, (0x100, name.to_owned())),
            (0x1_0100, (0x10, "p256::arithmetic::mul".to_owned())),
        ]);
        let mut instructions = Instructions::default();
        // The entry, the middle of the function, another one, behind all of them, before all of them.
        for address in [0x1_0000, 0x1_0080, 0x1_010e, 0x1_0110, 0x80] {
            instructions.count(&symbols, address, 10, 2);
        }
        assert_eq!((instructions.of_parts(&["manifests"]), instructions.of_parts(&["P-256"])), (20, 10));
        assert_eq!(instructions.of_parts(&["manifests", "P-256"]), 30);
        assert_eq!((instructions.of_functions(&["mul"]), instructions.verifications()), (10, 2));
    }
}
