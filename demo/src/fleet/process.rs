//! A process of devices: makes their flash from their unit files, switches them on, and tells how they stand.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bellwether_agent_host::fleet::{self, Model, Told};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::LocalSet;

use super::cast::{self, CLASS, SLOT_BYTES, Share};
use super::tally::Tally;
use crate::setting::VENDOR;

/// What the devices of a process share with who tells of them.
#[derive(Debug)]
struct Devices {
    share: Share,
    told: Mutex<Vec<Told>>,
    /// Flashes that are made, and what went wrong.
    other: Mutex<Tally>,
}

/// Runs devices until standard input ends: reads `units/NAME.unit` and writes `devices/NAME.flash` in the working folder,
/// and writes a [`Tally`] a line.
///
/// # Errors
///
/// Where threads or open files can't be had, or nobody reads the lines.
pub fn run(share: Share, registering_max: u32) -> io::Result<()> {
    raise_open_files()?;
    let devices = Arc::new(Devices {
        share,
        told: Mutex::new(share.numbers().map(|_| Told::default()).collect()),
        other: Mutex::default(),
    });
    // The main thread has the power switch, and each of the others its share of the devices.
    for worker in 0..WORKERS {
        let workers = usize::try_from(WORKERS).unwrap_or(1);
        let mine: Vec<u32> =
            share.numbers().skip(usize::try_from(worker).unwrap_or(0)).step_by(workers).collect();
        let permits = usize::try_from(registering_max / WORKERS).unwrap_or_default().max(1);
        let devices = Arc::clone(&devices);
        thread::Builder::new().spawn(move || devices.work(mine, permits))?;
    }
    let (power, off) = channel::<()>();
    thread::Builder::new().spawn(move || {
        // What arrives there means nothing; its end is that of the power.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        drop(power);
    })?;
    while off.recv_timeout(TELL_EVERY) == Err(RecvTimeoutError::Timeout) {
        devices.tell()?;
    }
    Ok(())
}

impl Devices {
    /// Makes devices and switches them on, at most `permits` of them on their way to their first registration.
    fn work(self: Arc<Self>, numbers: Vec<u32>, permits: usize) {
        let made: Vec<u32> = numbers.into_iter().filter(|number| self.make(*number)).collect();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return lock(&self.other).keep_fault(format!("no runtime: {error}")),
        };
        let (set, permits) = (LocalSet::new(), Arc::new(Semaphore::new(permits)));
        let all = set.run_until(async {
            let mut running = Vec::new();
            for number in made {
                let permit = Arc::clone(&permits).acquire_owned().await.ok();
                running.push(tokio::task::spawn_local(Arc::clone(&self).switch_on(number, permit)));
            }
            for device in running {
                // A device that panicked has said so itself, and is missed in the counts.
                let _ = device.await;
            }
        });
        runtime.block_on(all);
    }

    /// Makes a device's flash and removes its unit file: its secrets are in the device then, and nowhere else in clear.
    fn make(&self, number: u32) -> bool {
        let version = cast::version_before(number);
        let model = Model {
            vendor: VENDOR.to_owned(),
            class: CLASS.to_owned(),
            image: PathBuf::from(cast::image(version)),
            version: version.to_owned(),
            slot_bytes: SLOT_BYTES,
        };
        let unit = PathBuf::from(format!("{UNITS}/{}.unit", cast::name(number)));
        let made = fleet::make(&model, &unit, &flash(number));
        match made.and_then(|()| Ok(fs::remove_file(&unit)?)) {
            Ok(()) => lock(&self.other).made += 1,
            Err(error) => self.keep_fault(number, &error.to_string()),
        }
        flash(number).exists() && !unit.exists()
    }

    async fn switch_on(self: Arc<Self>, number: u32, permit: Option<OwnedSemaphorePermit>) {
        let permit = Rc::new(RefCell::new(permit));
        let (devices, held) = (Arc::clone(&self), Rc::clone(&permit));
        let tell = move |told: &Told| {
            if told.registered {
                drop(held.take());
            }
            devices.take(number, told);
        };
        let ended = fleet::switch_on(&flash(number), LIFETIME_S, tell).await;
        permit.take();
        let why = ended.map_or_else(|error| error.to_string(), |()| "it was told to".to_owned());
        self.keep_fault(number, &format!("ended: {why}"));
    }

    fn take(&self, number: u32, told: &Told) {
        if let Some(place) = lock(&self.told).get_mut(self.share.place(number)) {
            place.clone_from(told);
        }
    }

    fn keep_fault(&self, number: u32, what: &str) {
        lock(&self.other).keep_fault(format!("{} {what}", cast::name(number)));
    }

    fn tell(&self) -> io::Result<()> {
        let mut tally = lock(&self.other).clone();
        lock(&self.told).iter().for_each(|told| tally.count(told));
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&tally)?)?;
        out.flush()
    }
}

fn flash(number: u32) -> PathBuf {
    Path::new("devices").join(format!("{}.flash", cast::name(number)))
}

/// Who panicked while it held a lock has left counts that are good enough to tell.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes as many open files as the system allows: shells give 1,024, for which a fleet has too many sockets.
fn raise_open_files() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Folder of the unit files.
pub const UNITS: &str = "units";
/// Threads that drive the devices of a process: while one waits for its disk, the others go on.
const WORKERS: u32 = 8;
/// Long enough that a campaign is not measured together with renewals of registrations.
const LIFETIME_S: u32 = 3_600;
/// Time between two lines.
pub const TELL_EVERY: Duration = Duration::from_millis(250);
