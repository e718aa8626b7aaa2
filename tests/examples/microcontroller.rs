//! What `make microcontroller` runs: emulated Cortex-M4 boards update themselves from the real server, and what that
//! costs is measured against the budgets.
//!
//! Usage: `microcontroller FOLDER CUTS`, with the boot loader and two images of the firmware in the folder, the same for
//! other boards in folders there, and how often the power is cut in the middle of an operation of the flash; `SEED`
//! repeats the moments. `microcontroller FOLDER c` updates the firmware in C alone, and shows what it said. It ends with 1 where a figure is over its budget, and panics where a device does not come where it
//! should.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it stops at the first thing that is not as it must be, and whoever started it reads its table"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bellwether_api::DeviceOutcome;
use bellwether_tests::board::{self, Board, Instructions, Machine, Made, Modem, Row, Sizes};
use bellwether_tests::chance::Chance;
use bellwether_tests::fleet::{Fleet, VENDOR};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().expect(USAGE));
    let what = words.next().expect(USAGE);
    let fleet = Fleet::start_with(&["--coap", "127.0.0.1:0"]);
    let site = Site { machine: Machine::CortexM4, folder: folder.clone(), fleet: &fleet };
    if what == "c" {
        let said = site.updates_in_c(1, "probe");
        println!("It said:\n{said}");
        return ExitCode::SUCCESS;
    }
    let cuts = what.parse().expect(USAGE);
    println!("An emulated Cortex-M4 and the real server, CoAP over plain UDP:");
    let (delta, by_delta) = site.updates(1, "meter", true);
    let (full, by_image) = site.updates(2, "lamp", false);
    site.goes_back(3, "valve");
    for (number, machine, target) in OTHERS {
        let site = Site { machine, folder: folder.join(target), fleet: &fleet };
        println!("  on {machine:?}:");
        site.updates(number, target, true);
    }
    let c_example = site.updates_c_example(6, "probe");
    site.survives_cuts(10, cuts);
    let rows = site.rows(&[delta, full], &c_example);
    println!("\n{}", board::table(&rows));
    println!("{}", instructions(&by_delta, &by_image));
    let over = board::over(&rows);
    if over.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("over budget: {}", over.join(", "));
    ExitCode::FAILURE
}

/// A server, and what the boards are made of.
struct Site<'a> {
    machine: Machine,
    folder: PathBuf,
    fleet: &'a Fleet,
}

/// What a board said that it used, by name.
type Used = BTreeMap<String, u64>;

impl Site<'_> {
    fn image(&self, version: &str) -> Vec<u8> {
        fs::read(self.folder.join(format!("firmware-{version}.bin"))).expect("an image")
    }

    /// Enrols a board that runs version 1.0.0; it stays off.
    fn board(&self, name: &str, class: &str, patches: bool) -> Board {
        let words = format!("device add {name} --class {class} --security none --out {name}.unit");
        self.fleet.cli.done(&words);
        let unit = self.fleet.folder().join(format!("{name}.unit"));
        let (image, server) = (self.image(OLD), self.fleet.server.coap());
        let made = Made { unit: &unit, vendor: VENDOR, class, image: &image, version: OLD, patches, server };
        Board::of(self.machine, &self.folder.join("boot.elf"), &board::flash(&made).expect("a flash"))
    }

    /// Publishes both versions for a class and launches a campaign for a board, which stays off; each has a class of its
    /// own.
    fn prepare(&self, number: u64, class: &str, new: &[u8], patches: bool) -> (Board, String) {
        self.fleet.release(class, OLD, &self.image(OLD));
        self.fleet.release(class, NEW, new);
        let manifest = self.fleet.manifest(number, &[(class, NEW)]);
        let board = self.board(&name(number), class, patches);
        let campaign = self.fleet.launch(&manifest, "");
        (board, campaign)
    }

    /// Prepares a board and switches it on until its update is over; counts its instructions into a file.
    fn run(
        &self,
        number: u64,
        class: &str,
        new: &[u8],
        patches: bool,
        counted: Option<&Path>,
    ) -> (Board, String, i32) {
        let (mut board, campaign) = self.prepare(number, class, new, patches);
        if let Some(counted) = counted {
            board = board.with_counter(&board::counter(self.fleet.folder()), counted);
        }
        board.switch_on(&["exit-when-updated"]);
        let status = board.wait_end();
        let code = status.code().unwrap_or_else(|| panic!("{status}\n{}", board.said()));
        (board, campaign, code)
    }

    /// An update that is installed.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn updates(&self, number: u64, class: &str, patches: bool) -> (Used, Instructions) {
        let counted = self.fleet.folder().join(format!("counted-{number}"));
        let (new, began) = (self.image(NEW), Instant::now());
        let (board, campaign, status) = self.run(number, class, &new, patches, Some(&counted));
        let (took, said) = (began.elapsed(), board.said());
        assert_eq!(status, UPDATED, "{said}");
        self.fleet.wait_outcome(&campaign, &name(number), DeviceOutcome::Installed);
        assert_eq!(board::confirmed_version(board.flash()), NEW, "{said}");
        assert!(!board::is_on_trial(board.flash()), "{said}");
        let granted = said.lines().find_map(|line| line.strip_prefix("granted ")).expect("a grant");
        assert_eq!(granted.starts_with("delta"), patches, "{said}");
        assert!(said.contains("firmware 2.0.0 on trial"), "{said}");
        let seconds = took.as_secs_f32();
        println!("  {}: installed {NEW} by {granted}, {seconds:.1} s", name(number));
        let elf = self.folder.join(format!("firmware-{NEW}.elf"));
        (used(&said), Instructions::read(&counted, &elf))
    }

    /// An update of the example in C.
    fn updates_c_example(&self, number: u64, class: &str) -> Used {
        let said = self.updates_in_c(number, class);
        let granted = said.lines().find_map(|line| line.strip_prefix("granted ")).expect("a grant");
        assert!(granted.starts_with("delta") && said.contains("firmware in C 2.0.0 on trial"), "{said}");
        used(&said)
    }

    /// An update of a firmware in C, whose modem is a serial line; gives what it said.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn updates_in_c(&self, number: u64, class: &str) -> String {
        let image = |version| fs::read(self.folder.join(format!("c-{version}.bin"))).expect("an image");
        let name = name(number);
        self.fleet.release(class, OLD, &image(OLD));
        self.fleet.release(class, NEW, &image(NEW));
        let manifest = self.fleet.manifest(number, &[(class, NEW)]);
        self.fleet.cli.done(&format!("device add {name} --class {class} --security none --out {name}.unit"));
        let unit = self.fleet.folder().join(format!("{name}.unit"));
        let (image, server) = (image(OLD), self.fleet.server.coap());
        let made =
            Made { unit: &unit, vendor: VENDOR, class, image: &image, version: OLD, patches: true, server };
        let flash = board::flash_of_c_example(&made).expect("a flash");
        let modem = Modem::start(&self.fleet.folder().join("serial"), server);
        let mut board = Board::new(&self.folder.join("boot.elf"), &flash).with_serial_line(modem.line());
        let campaign = self.fleet.launch(&manifest, "");
        let began = Instant::now();
        board.switch_on(&["exit-when-updated"]);
        let (status, took) = (board.wait_end(), began.elapsed().as_secs_f32());
        let said = board.said();
        assert_eq!(status.code(), Some(UPDATED), "{said}");
        self.fleet.wait_outcome(&campaign, &name, DeviceOutcome::Installed);
        assert_eq!(board::confirmed_version(board.flash()), NEW, "{said}");
        println!("  {name}, a firmware in C: installed {NEW}, {took:.1} s");
        said
    }

    /// An image that hangs before it confirms itself.
    fn goes_back(&self, number: u64, class: &str) {
        let (board, campaign, status) = self.run(number, class, &hanging_image(), false, None);
        let said = board.said();
        assert_eq!(status, NOT_UPDATED, "{said}");
        self.fleet.wait_outcome(&campaign, &name(number), DeviceOutcome::Failed);
        assert_eq!(board::confirmed_version(board.flash()), OLD, "{said}");
        assert_eq!(said.matches("firmware 1.0.0 confirmed").count(), 2, "{said}");
        let name = name(number);
        println!("  {name}: an image that hangs was started three times by the watchdog, then {OLD} again");
    }

    /// Updates of boards from number `first` on, whose power is cut again and again until it was cut so often.
    fn survives_cuts(&self, first: u64, cuts: u32) {
        let (mut chance, mut seen) = (Chance::told(), Cuts::default());
        let mut number = first;
        while seen.all < cuts {
            let (class, patches) = (format!("cut-{number}"), number.is_multiple_of(2));
            let (mut board, campaign) = self.prepare(number, &class, &self.image(NEW), patches);
            let mut trials = 0;
            while seen.all < cuts && !cut_once(&mut board, &mut chance, &mut seen, &mut trials) {}
            if board::confirmed_version(board.flash()) != NEW || !self.is_installed(&campaign, number) {
                board.switch_on(&["exit-when-updated"]);
                assert_eq!(board.wait_end().code(), Some(UPDATED), "{}", board.said());
            }
            self.fleet.wait_outcome(&campaign, &name(number), DeviceOutcome::Installed);
            assert_eq!(board::confirmed_version(board.flash()), NEW, "{}", board.said());
            seen.tell(&board.said());
            number += 1;
        }
        println!("  {} more: power cut {} times ({seen}), each runs {NEW}", number - first, seen.all);
    }

    fn is_installed(&self, campaign: &str, number: u64) -> bool {
        self.fleet.track(campaign, &name(number)).outcome == DeviceOutcome::Installed
    }

    /// The figures, each beside its bounds.
    fn rows(&self, runs: &[Used], c_example: &Used) -> Vec<Row> {
        let boot = Sizes::of(&self.folder.join("boot.elf"));
        let c = Sizes::of(&self.folder.join(format!("c-{OLD}.elf")));
        let firmware = Sizes::of(&self.folder.join(format!("firmware-{OLD}.elf")));
        let most =
            |name: &str| runs.iter().filter_map(|used| used.get(name)).max().copied().expect("a figure");
        let (stack, heap, network) = (most("stack"), most("heap"), most("network"));
        let fixed = firmware.ram - firmware.heap;
        let mut rows = vec![
            row("boot loader: flash", boot.flash, 10_052, None),
            row("firmware: flash", firmware.flash, 198_332, Some(96 * 1024)),
        ];
        for (part, bytes) in &firmware.parts {
            rows.push(Row { name: part, measured: *bytes, budget: None, goal: None });
        }
        rows.extend([
            row("RAM: static, without the heap", fixed, 16, None),
            row("RAM: stack, at the most", stack, 12_804, None),
            row("RAM: heap, at the most", heap, 19_408, None),
            row("  of it the network's", network, 6_160, None),
            row("RAM: all but the network's", fixed + stack + heap - network, 26_068, Some(16 * 1024)),
            // It has a modem where the firmware above has Ethernet and IP.
            row("example in C: flash", c.flash, 194_552, Some(firmware.flash + 4 * 1024)),
            row("example in C: stack, at the most", c_example["stack"], 10_660, None),
            row("example in C: block of memory", c_example["memory"], 12_632, None),
        ]);
        rows
    }
}

/// Sets what an update executed as a table.
fn instructions(delta: &Instructions, image: &Instructions) -> String {
    let row = |name: &str, of: &dyn Fn(&Instructions) -> u64| {
        format!("{name:<34}{:>14}{:>14}\n", of(delta), of(image))
    };
    [
        format!("{:<34}{:>14}{:>14}\n", "instructions, all boots", "by delta", "by image"),
        row("signatures verified", &Instructions::verifications),
        row("verify one signature", &|run| run.of_parts(&["P-256"]) / run.verifications().max(1)),
        row("hash", &|run| run.of_functions(&["sha2"])),
        row("decrypt", &|run| run.of_functions(&["aes::", "ctr::", "ContentCipher"])),
        row("apply the patch", &|run| run.of_parts(&["delta"])),
        row("manifests and messages", &|run| run.of_parts(&["manifests"])),
        row("update core", &|run| run.of_parts(&["update core"])),
        row("all of these, and keys", &|run| run.of_parts(&UPDATE)),
    ]
    .concat()
}

/// What an update needs; the other parts also wait.
const UPDATE: [&str; 5] = ["update core", "manifests", "keys, hashes, ciphers", "P-256", "delta"];

/// Cuts of the power, by what they hit.
#[derive(Clone, Copy, Debug, Default)]
struct Cuts {
    all: u32,
    words: usize,
    erasures: usize,
    on_trial: u32,
    after: u32,
}

impl Cuts {
    /// Counts what a board said of them.
    fn tell(&mut self, said: &str) {
        self.words += said.matches("power cut in a word").count();
        self.erasures += said.matches("power cut in an erasure").count();
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, erasures, on_trial, after, .. } = self;
        write!(f, "{words} in a word, {erasures} in an erasure; {on_trial} on trial, {after} once confirmed")
    }
}

/// Switches a board on until its power is cut in one of its next operations, or until its update is over, which it tells.
/// `trials` counts the cuts since the trial began: a third would be the end of the image.
fn cut_once(board: &mut Board, chance: &mut Chance, seen: &mut Cuts, trials: &mut u32) -> bool {
    let words = moments(chance, *trials < TRIALS_CUT_MAX);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["exit-when-updated"]).collect();
    board.switch_on(&words);
    let code = board.wait_end().code();
    let version = board::confirmed_version(board.flash());
    assert!([OLD, NEW].contains(&version.as_str()), "{version}");
    match code {
        Some(UPDATED) => return true,
        Some(POWER_CUT) => seen.all += 1,
        _ => panic!("{code:?} after {words:?}\n{}", board.said()),
    }
    let on_trial = board::is_on_trial(board.flash());
    *trials += u32::from(on_trial);
    seen.on_trial += u32::from(on_trial);
    seen.after += u32::from(version == NEW);
    false
}

/// Draws in which operation the power goes: of the firmware, and where it comes to a trial, of the boot loader then or
/// of the firmware on trial.
fn moments(chance: &mut Chance, on_trial: bool) -> Vec<String> {
    let mut moments = Vec::new();
    if chance.below(3) > 0 {
        // As many among the first ten as among the first hundred thousand.
        let bound = 1 << chance.below(OPERATIONS_LOG);
        moments.push(format!("cut={}", 1 + chance.below(bound)));
    }
    if on_trial && chance.below(2) == 0 {
        moments.push(format!("boot-cut={}", 1 + chance.below(BOOT_OPERATIONS)));
    } else if on_trial {
        moments.push(format!("trial-cut={}", 1 + chance.below(TRIAL_OPERATIONS)));
    }
    moments
}

fn name(number: u64) -> String {
    format!("board-{number}")
}

/// A figure that was `before` when this was last written: a tenth more is its budget.
fn row(name: &'static str, measured: u64, before: u64, goal: Option<u64>) -> Row {
    Row { name, measured, budget: Some(before + before / 10), goal }
}

/// The largest of what each boot said: `measured stack 1 heap 2 network 3`.
fn used(said: &str) -> Used {
    let mut used = Used::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("measured ")) {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.chunks_exact(2) {
            let bytes: u64 = pair[1].parse().expect("a number");
            let most = used.entry(pair[0].to_owned()).or_default();
            *most = bytes.max(*most);
        }
    }
    used
}

/// Vectors, of which the watchdog's first warning takes one, and an instruction that jumps to itself.
fn hanging_image() -> Vec<u8> {
    const STACK_TOP: u32 = 0x2002_0000;
    const VECTORS: u32 = 16;
    const ENTRY: u32 = (0x0001_0000 + 4 * VECTORS) | 1;
    const HANG: u16 = 0xe7fe;
    let vectors = (1..VECTORS).map(|_| ENTRY);
    let mut image: Vec<u8> = [STACK_TOP].into_iter().chain(vectors).flat_map(u32::to_le_bytes).collect();
    image.extend(HANG.to_le_bytes());
    image
}

/// Other boards, each with the number of its update, and the folder of its programs, which is the target's name.
const OTHERS: [(u64, Machine, &str); 2] =
    [(4, Machine::CortexM3, "thumbv7m-none-eabi"), (5, Machine::CortexM33, "thumbv8m.main-none-eabihf")];

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

// Exit statuses of the firmware.
const UPDATED: i32 = 0;
const NOT_UPDATED: i32 = 4;
const POWER_CUT: i32 = 7;

const USAGE: &str = "usage: microcontroller FOLDER CUTS|c";

/// Operations of the flash in an update: about 2 to this power, most of them words of the image.
const OPERATIONS_LOG: u64 = 17;

/// Operations of the firmware on trial: a boot state, a record with a report, another one when its receipt comes.
const TRIAL_OPERATIONS: u64 = 600;

/// Cuts while an image is on trial; it is started three times.
const TRIALS_CUT_MAX: u32 = 2;

/// Operations of the boot loader where it writes: an erasure and the words of a boot state.
const BOOT_OPERATIONS: u64 = 60;
