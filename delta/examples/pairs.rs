//! Makes and applies patches for a folder of image pairs, and prints what they take.
//!
//! Usage: `pairs FOLDER [PROFILE] [NAME]`; the folder holds a `pairs.tsv` with the columns pair, family, arch, kind,
//! old, new.

#![expect(clippy::disallowed_methods, reason = "a program of its own, which measures")]
#![expect(clippy::cast_precision_loss, reason = "shares to three digits")]

use std::path::Path;
use std::time::Instant;

use bellwether_delta::format::WORDS_16;
use bellwether_delta::make::{Options, make_with};
use bellwether_delta::{PatcherOf, Profile};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = Path::new(arguments.get(1).ok_or("which folder?")?);
    let profile = match arguments.get(2).map(String::as_str) {
        Some("16") => Profile::Kib16,
        _ => Profile::Kib8,
    };
    let mut ratios = Vec::new();
    println!("pair bytes % arch make_s apply_MB/s | flow seek field target hit difference literal");
    for line in std::fs::read_to_string(folder.join("pairs.tsv"))?.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [pair, _, arch, kind, old, new, ..] = columns[..] else { continue };
        if arguments.get(3).is_some_and(|names| !names.split(',').any(|name| pair.contains(name)))
            || kind == "container"
        {
            continue;
        }
        let (base, target) = (std::fs::read(folder.join(old))?, std::fs::read(folder.join(new))?);
        let began = Instant::now();
        let patch = make_with(&base, &target, Options { profile, architecture: None })?;
        let made = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let mut slot = Vec::new();
        let (base_size, target_size) = (u32::try_from(base.len())?, u32::try_from(target.len())?);
        let mut patcher = Box::new(PatcherOf::<WORDS_16>::new(-2, base_size, target_size, &[])?);
        for piece in patch.bytes.chunks(1024) {
            patcher.push(piece, &mut &base[..], &mut slot)?;
        }
        patcher.finish(&mut &base[..], &mut slot)?;
        let applied = began.elapsed().as_secs_f64();
        assert!(slot == target, "{pair}: the patch does not give the target");
        let ratio = patch.bytes.len() as f64 / target.len() as f64;
        ratios.push((ratio, kind.to_owned(), arch.to_owned()));
        println!(
            "{pair} {} {:.3} {:?} {made:.2} {:.1} | {}",
            patch.bytes.len(),
            ratio * 100.0,
            patch.architecture,
            target.len() as f64 / applied / 1e6,
            patch.spent.map(|bytes| format!("{bytes:.0}")).join(" "),
        );
    }
    print_means(&ratios);
    Ok(())
}

fn print_means(ratios: &[(f64, String, String)]) {
    let mean = |keep: &dyn Fn(&str, &str) -> bool| {
        let logs: Vec<f64> =
            ratios.iter().filter(|(_, kind, arch)| keep(kind, arch)).map(|(ratio, ..)| ratio.ln()).collect();
        ((logs.iter().sum::<f64>() / logs.len() as f64).exp() * 100.0, logs.len())
    };
    println!("all {:?}", mean(&|_, _| true));
    for kind in ["tiny", "minor", "mid", "major"] {
        println!("{kind} {:?}", mean(&|of, _| of.starts_with(kind)));
    }
    for arch in ["cortex", "avr", "xtensa", "riscv", "arm64"] {
        println!("{arch} {:?}", mean(&|_, of| of.starts_with(arch)));
    }
}
