//! What `make microcontroller ARGS=--sweep` runs: the power of an emulated Cortex-M4 is cut at every operation of its
//! flash.
//!
//! Usage: `microcontroller_sweep FOLDER [--every-word]`, with the boot loader and the resident firmware in the folder;
//! `SEED` repeats the moments. One board is updated from the real server and tells each operation: a page that is
//! programmed, or a sector that is erased. Then there are boards for each of them, whose power goes in the first word of
//! the page, in the last, or in one between (or, with `--every-word`, in each); the same for each operation of the boot
//! after a cut in the middle of the update; and boards whose emulator is killed at moments that nobody chose. After each
//! cut the confirmed image in the flash is whole, the old one or the new one; one of them starts, and the board ends with
//! the new one, as the server knows. It panics where that is not so.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it stops at the first thing that is not as it must be, and whoever started it reads what it prints"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bellwether_api::{DeviceOutcome, NewDevice};
use bellwether_tests::board::{self, Board, Made};
use bellwether_tests::chance::Chance;
use bellwether_tests::fleet::{Fleet, VENDOR};

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(words.first().expect("usage: microcontroller_sweep FOLDER [--every-word]"));
    let every_word = words.iter().any(|word| word == "--every-word");
    let began = Instant::now();
    let fleet = Fleet::start_with(&["--coap", "127.0.0.1:0"]);
    let mut site = Site { folder: &folder, fleet, chance: Chance::told() };

    let (update, took) = site.operations(1, None);
    let cuts = site.cuts(&update, every_word);
    println!(
        "Operations of the flash in an update: {}. Boards that lose their power in them: {}.",
        update.len(),
        cuts.len()
    );
    println!("  {}", site.sweep(2, &cuts, None));

    let middle = &update[update.len() / 2];
    let first = middle.word(middle.from);
    let (recovery, _) = site.operations(3, Some(&first));
    let again = site.cuts(&recovery, every_word);
    println!(
        "After a cut at {first}, in the boots that follow: {}. Boards: {}.",
        recovery.len(),
        again.len()
    );
    println!("  {}", site.sweep(4, &again, Some(&first)));

    println!("Boards whose emulator is killed at a moment that nobody chose: {KILLS}.");
    println!("  {}", site.kills(5, took));
    let boards = cuts.len() + again.len() + KILLS;
    let minutes = began.elapsed().as_secs_f32() / 60.0;
    println!("{boards} boards; each started an image after it, and runs {NEW} in the end. {minutes:.1} min.");
}

/// A server, and what the boards are made of.
struct Site<'a> {
    folder: &'a Path,
    fleet: Fleet,
    chance: Chance,
}

/// An operation of the flash: the words of it, counted in its phase.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Operation {
    phase: String,
    from: u64,
    /// The first word behind it.
    until: u64,
}

impl Operation {
    /// What the firmware is told to cut the power there.
    fn word(&self, at: u64) -> String {
        format!("{}{at}", self.phase)
    }
}

/// What became of the boards of a sweep.
#[derive(Debug, Default)]
struct Tally {
    words: AtomicUsize,
    erasures: AtomicUsize,
    none: AtomicUsize,
    old: AtomicUsize,
    new: AtomicUsize,
    on_trial: AtomicUsize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (words, erasures, none) = (read(&self.words), read(&self.erasures), read(&self.none));
        let (old, on_trial, new) = (read(&self.old), read(&self.on_trial), read(&self.new));
        if words + erasures > 0 {
            write!(f, "{words} in a word, {erasures} in an erasure; ")?;
        }
        write!(
            f,
            "after it {old} have the old image confirmed ({on_trial} the new one on trial), {new} the new one"
        )?;
        if none > 0 {
            write!(f, "; {none} were through before")?;
        }
        Ok(())
    }
}

impl Site<'_> {
    /// Publishes both versions for a class of this number, enrols boards of it, and launches their campaign.
    fn prepare(&self, number: u64, boards: usize) -> Launched {
        let class = format!("class-{number}");
        for version in [OLD, NEW] {
            self.fleet.release(&class, version, &board::small_image(version));
        }
        let manifest = self.fleet.manifest(number, &[(&class, NEW)]);
        for board in 0..boards {
            let name = name(number, board);
            let body = serde_json::json!({"endpoint": name, "class": class, "security": "none"});
            let new: NewDevice = self.fleet.server.http().post("/v1/devices", &body).json();
            self.fleet.put(&format!("{name}.unit"), &hex::decode(new.unit).expect("hexadecimal"));
        }
        Launched { number, class, campaign: self.fleet.launch(&manifest, "") }
    }

    /// Makes a board, which stays off.
    fn board(&self, launched: &Launched, number: usize) -> Board {
        let unit = self.fleet.folder().join(name(launched.number, number)).with_extension("unit");
        let (image, server) = (board::small_image(OLD), self.fleet.server.coap());
        let made = Made {
            unit: &unit,
            vendor: VENDOR,
            class: &launched.class,
            image: &image,
            version: OLD,
            patches: true,
            server,
        };
        let board = Board::new(&self.folder.join("boot.elf"), &board::flash(&made).expect("a flash"));
        std::fs::remove_file(&unit).expect("the unit file");
        board.with_resident(&self.folder.join("resident.bin"))
    }

    /// Lets a board tell the operations of its update, after a cut of its power where there is one; and how long it took.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn operations(&self, number: u64, after: Option<&str>) -> (Vec<Operation>, Duration) {
        let launched = self.prepare(number, 1);
        let mut board = self.board(&launched, 0);
        if let Some(first) = after {
            cut(&mut board, first);
        }
        let said_before = board.said().len();
        let began = Instant::now();
        finish(&mut board, &["trace"]);
        let took = began.elapsed();
        self.fleet.wait_outcome(&launched.campaign, &name(number, 0), DeviceOutcome::Installed);
        (parse_operations(&board.said()[said_before..]), took)
    }

    /// Chooses where in operations the power goes.
    fn cuts(&mut self, operations: &[Operation], every_word: bool) -> Vec<String> {
        let mut cuts = Vec::new();
        for operation in operations {
            let Operation { from, until, .. } = *operation;
            let between = from + self.chance.below(until - from);
            let mut words = if every_word { (from..until).collect() } else { vec![from, between, until - 1] };
            words.dedup();
            cuts.extend(words.into_iter().map(|word| operation.word(word)));
        }
        cuts
    }

    /// Cuts the power of a board at each of `cuts`, and at `first` before, where there is that.
    fn sweep(&self, number: u64, cuts: &[String], first: Option<&str>) -> Tally {
        self.each(number, cuts.len(), |board, index, tally| {
            if let Some(first) = first {
                cut(board, first);
            }
            cut(board, &cuts[index]);
            tally.count_cut(board);
        })
    }

    /// Kills emulators within the time that an update takes.
    fn kills(&self, number: u64, took: Duration) -> Tally {
        let chance = std::sync::Mutex::new(self.chance.clone());
        let within_ms = u64::try_from(took.as_millis()).expect("a short time");
        self.each(number, KILLS, |board, _, tally| {
            let mut chance = { chance.lock().expect("no board panicked").fork() };
            board.switch_on(&["exit-when-updated"]);
            chance.moment(within_ms, board.log());
            tally.none.fetch_add(usize::from(board.kill().is_some()), Ordering::Relaxed);
            tally.count_state(board);
        })
    }

    /// Lets something happen to each of so many boards, on all cores, then lets them finish their update.
    fn each(&self, number: u64, boards: usize, happen: impl Fn(&mut Board, usize, &Tally) + Sync) -> Tally {
        let launched = self.prepare(number, boards);
        let (next, tally) = (AtomicUsize::new(0), Tally::default());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= boards {
                    break;
                }
                let mut board = self.board(&launched, index);
                happen(&mut board, index, &tally);
                finish(&mut board, &[]);
                board.scrap();
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let all = self.fleet.campaign(&launched.campaign).devices;
        let installed = all.iter().filter(|one| one.outcome == DeviceOutcome::Installed).count();
        assert_eq!(installed, boards, "{all:#?}");
        tally
    }
}

/// A campaign and its class.
struct Launched {
    number: u64,
    class: String,
    campaign: String,
}

impl Tally {
    /// Counts a cut by what it hit and left.
    fn count_cut(&self, board: &Board) {
        let said = board.said();
        let last = said.lines().rfind(|line| line.starts_with("power cut")).expect("a cut");
        let hit = if last.ends_with("in a word") { &self.words } else { &self.erasures };
        hit.fetch_add(1, Ordering::Relaxed);
        self.count_state(board);
    }

    /// Counts what a cut left: which image is confirmed, and it is whole, or this panics.
    fn count_state(&self, board: &Board) {
        let version = board::confirmed_version(board.flash());
        let left = match version.as_str() {
            OLD => &self.old,
            NEW => &self.new,
            _ => panic!("{version}\n{}", board.said()),
        };
        left.fetch_add(1, Ordering::Relaxed);
        let on_trial = board::is_on_trial(board.flash());
        self.on_trial.fetch_add(usize::from(on_trial), Ordering::Relaxed);
    }
}

/// Switches a board on, whose power is cut in a word of some phase.
fn cut(board: &mut Board, word: &str) {
    board.switch_on(&[word, "exit-when-updated"]);
    assert_eq!(board.wait_end().code(), Some(POWER_CUT), "{word}\n{}", board.said());
}

/// Switches a board on until its update is over, and sees that images were started which it may start, the new one last.
fn finish(board: &mut Board, more: &[&str]) {
    let said_before = board.said().len();
    let words: Vec<&str> = more.iter().copied().chain(["exit-when-updated"]).collect();
    board.switch_on(&words);
    assert_eq!(board.wait_end().code(), Some(UPDATED), "{}", board.said());
    let said = board.said();
    let started: Vec<&str> =
        said[said_before..].lines().filter_map(|line| line.strip_prefix("small image ")).collect();
    assert!([[OLD, NEW].as_slice(), &[NEW]].contains(&started.as_slice()), "{said}");
    assert_eq!(board::confirmed_version(board.flash()), NEW, "{said}");
    assert!(!board::is_on_trial(board.flash()), "{said}");
}

/// Reads lines as `operation cut=12`. The last operation of a phase counts as one word: what follows is not told.
fn parse_operations(said: &str) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("operation ")) {
        let (phase, from) = line.split_at(line.find('=').expect("a phase") + 1);
        let from = from.parse().expect("a number");
        if let Some(last) = operations.last_mut().filter(|last| last.phase == phase) {
            last.until = from;
        }
        operations.push(Operation { phase: phase.to_owned(), from, until: from + 1 });
    }
    operations
}

fn name(number: u64, board: usize) -> String {
    format!("board-{number}-{board}")
}

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

/// Killed emulators.
const KILLS: usize = 60;

// Exit statuses of the firmware.
const UPDATED: i32 = 0;
const POWER_CUT: i32 = 7;
