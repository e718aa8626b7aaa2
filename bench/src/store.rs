//! Durable writes a second by both stores, with so many writers at once, each beside the same statements in a loop with
//! as many in a commit.
//!
//! A transition is what a device's request or report leaves: the identity's state by compare-and-set, an event, and the
//! campaign's fold of it. An enrolment is a device with its identity and keys. A contact is what the server keeps of a
//! registration: it is written from memory every ten seconds, in statements of many rows.

use std::sync::Arc;

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_store::bounds::STATEMENT_ROWS_MAX;
use bellwether_store::campaign::Launch;
use bellwether_store::conformance::instance::Instance;
use bellwether_store::conformance::{Bare, sample};
use bellwether_store::device::{EnrolledDevice, NewIdentity, Transition};
use bellwether_store::operators::Contact;
use bellwether_store::{PostgresStore, SqliteStore, Store};
use tokio::task::JoinSet;

use crate::figure::{Figure, Taken};
use crate::{Failure, clock};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    rounds: usize,
    /// Writes of each kind in one window, but for those of writers that are too few to do so many in a second.
    writes: usize,
}

impl Effort {
    /// What `--only store` does: about two minutes.
    pub(crate) const FULL: Self = Self { rounds: 5, writes: 1_024 };
}

/// Samples of one number of writers.
struct Samples {
    writers: usize,
    /// Ours and the loop's, a second.
    transitions: (Vec<f64>, Vec<f64>),
    enrolments: (Vec<f64>, Vec<f64>),
}

/// Measures both stores.
pub(crate) fn measure(effort: Effort) -> Result<Taken, Failure> {
    eprintln!("measuring durable writes per second on both stores ...");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let mut taken = Taken::default();
    runtime.block_on(async {
        let store = SqliteStore::open(&folder.path().join("bellwether.db")).await?;
        taken.figures.extend(on(effort, "sqlite", "SQLite, WAL, synchronous FULL", &store).await?);
        store.close().await;
        let instance = Instance::start(true);
        let store = PostgresStore::open(&instance.database()).await?;
        let engine = "PostgreSQL, synchronous_commit on, by a Unix socket";
        taken.figures.extend(on(effort, "postgres", engine, &store).await?);
        store.close().await;
        Ok::<_, Failure>(())
    })?;
    taken.notes.push(
        "store_*: wN is N writers that each wait for their commit; beside it the same statements in one loop, N in a \
         commit; both on the medium of the temporary folder"
            .to_owned(),
    );
    Ok(taken)
}

async fn on<S>(effort: Effort, name: &str, engine: &str, store: &S) -> Result<Vec<Figure>, Failure>
where
    S: Store + Bare + Clone + 'static,
{
    let mut fleet = Fleet::prepare(store, effort.writes).await?;
    let mut all: Vec<Samples> = WRITERS
        .iter()
        .map(|writers| Samples {
            writers: *writers,
            transitions: Default::default(),
            enrolments: Default::default(),
        })
        .collect();
    for _ in 0..effort.rounds {
        for samples in &mut all {
            let (writers, count) = (samples.writers, effort.writes.min(samples.writers * SHARE_MAX));
            samples.transitions.0.push(fleet.transitions(store, writers, count).await?);
            samples.transitions.1.push(fleet.bare_transitions(store, writers, count).await?);
            samples.enrolments.0.push(fleet.enrolments(store, writers, count).await?);
            samples.enrolments.1.push(fleet.bare_enrolments(store, writers, count).await?);
        }
    }
    let mut figures = Vec::new();
    for Samples { writers, transitions, enrolments } in all {
        for (what, (ours, bare)) in [("transitions", transitions), ("enrolments", enrolments)] {
            let figure = Figure::new(
                format!("store_{what}_per_second_{name}_w{writers}"),
                "1/s",
                format!("{what} that are durable when they return, {writers} at once"),
                engine,
                &ours,
            )?;
            let peer = format!("a bare loop of the same statements, {writers} in a commit");
            figures.push(figure.beside(peer, &ours, &bare)?);
        }
    }
    figures.push(contacts(effort, name, engine, store).await?);
    Ok(figures)
}

/// Rows of contacts a second, in commits as the server makes them, beside commits of one statement.
async fn contacts(effort: Effort, name: &str, engine: &str, store: &dyn Store) -> Result<Figure, Failure> {
    let contact = |number: usize, at: u64| {
        let endpoint = endpoint(&format!("lamp-{number}"))?;
        let address = format!("192.0.2.{}:5683", number % 256);
        Ok::<_, Failure>(Contact { endpoint, registered_at: at, heard_at: at, address })
    };
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds as u64 {
        for (rows, sample) in [(CONTACTS, &mut ours), (STATEMENT_ROWS_MAX, &mut peers)] {
            let all: Vec<Contact> = (0..rows).map(|one| contact(one, round + 1)).collect::<Result<_, _>>()?;
            let began = clock::now();
            store.put_contacts(&sample::tenant(), &all).await?;
            sample.push(per_second(rows, began));
        }
    }
    let layer = "contacts of registered devices, 10,000 in a commit, 2,048 in a statement";
    let figure = Figure::new(format!("store_contacts_per_second_{name}"), "1/s", layer, engine, &ours)?;
    figure.beside("one statement of 2,048 in a commit", &ours, &peers)
}

/// Devices in a campaign, and those that are still to be enrolled.
struct Fleet {
    lamps: Vec<(Endpoint, IdentityState)>,
    enrolled: usize,
}

impl Fleet {
    async fn prepare(store: &dyn Store, count: usize) -> Result<Self, Failure> {
        let tenant = sample::tenant();
        store.add_manifest(&tenant, &sample::manifest(1, 7)).await?;
        let mut fleet = Self { lamps: Vec::new(), enrolled: 0 };
        let lamps = fleet.new_lamps(count);
        store.add_devices(&tenant, &lamps).await?;
        let launched: Vec<_> = lamps
            .iter()
            .map(|(lamp, _)| {
                let class = lamp.device.class.clone();
                sample::event(1, lamp.device.endpoint.as_str(), EventKind::Targeted { class })
            })
            .collect();
        let campaign = sample::campaign(1);
        store.launch(&tenant, Launch { campaign: &campaign, events: &launched, command: None }).await?;
        for (lamp, identity) in lamps {
            fleet.lamps.push((lamp.device.endpoint, identity.state));
        }
        Ok(fleet)
    }

    fn new_lamps(&mut self, count: usize) -> Vec<(EnrolledDevice, NewIdentity)> {
        let numbers = self.enrolled..self.enrolled + count;
        self.enrolled += count;
        let lamp = |number: usize| {
            let name = format!("lamp-{number}");
            let identity = NewIdentity { state: sample::full_state(0), ..sample::identity(&name) };
            (sample::device(&name), identity)
        };
        numbers.map(lamp).collect()
    }

    async fn transitions<S>(&mut self, store: &S, writers: usize, count: usize) -> Result<f64, Failure>
    where
        S: Store + Clone + 'static,
    {
        let mut shares: Vec<Vec<(Endpoint, IdentityState)>> = vec![Vec::new(); writers];
        for (number, lamp) in self.lamps.drain(..count).enumerate() {
            shares[number % writers].push(lamp);
        }
        let (store, mut tasks) = (Arc::new(store.clone()), JoinSet::new());
        let began = clock::now();
        for mut share in shares {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for (id, state) in &mut share {
                    let (next, events) = step(id, state);
                    let step = Transition { events: &events, ..Transition::new(state.revision, &next) };
                    store.update_identity(&sample::tenant(), id, step).await?;
                    *state = next;
                }
                Ok::<_, Failure>(share)
            });
        }
        while let Some(done) = tasks.join_next().await {
            self.lamps.extend(done??);
        }
        Ok(per_second(count, began))
    }

    async fn bare_transitions(
        &mut self,
        store: &dyn Bare,
        at_once: usize,
        count: usize,
    ) -> Result<f64, Failure> {
        let began = clock::now();
        for lamps in self.lamps[..count].chunks_mut(at_once) {
            let steps: Vec<_> = lamps.iter().map(|(id, state)| step(id, state)).collect();
            let transitions: Vec<(Endpoint, Transition<'_>)> = lamps
                .iter()
                .zip(&steps)
                .map(|((id, state), (next, events))| {
                    (id.clone(), Transition { events, ..Transition::new(state.revision, next) })
                })
                .collect();
            store.transitions_in_one_commit(&sample::tenant(), &transitions).await?;
            for (lamp, (next, _)) in lamps.iter_mut().zip(steps) {
                lamp.1 = next;
            }
        }
        let rate = per_second(count, began);
        // The next window is of others.
        self.lamps.rotate_left(count);
        Ok(rate)
    }

    async fn enrolments<S>(&mut self, store: &S, writers: usize, count: usize) -> Result<f64, Failure>
    where
        S: Store + Clone + 'static,
    {
        let mut shares: Vec<Vec<(EnrolledDevice, NewIdentity)>> = vec![Vec::new(); writers];
        for (number, lamp) in self.new_lamps(count).into_iter().enumerate() {
            shares[number % writers].push(lamp);
        }
        let (store, mut tasks) = (Arc::new(store.clone()), JoinSet::new());
        let began = clock::now();
        for share in shares {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for (device, identity) in &share {
                    store.add_device(&sample::tenant(), device, identity).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(per_second(count, began))
    }

    async fn bare_enrolments(
        &mut self,
        store: &dyn Store,
        at_once: usize,
        count: usize,
    ) -> Result<f64, Failure> {
        let lamps = self.new_lamps(count);
        let began = clock::now();
        for lamps in lamps.chunks(at_once) {
            store.add_devices(&sample::tenant(), lamps).await?;
        }
        Ok(per_second(count, began))
    }
}

/// The next state of a device, and what the ledger gets with it.
fn step(
    id: &Endpoint,
    state: &IdentityState,
) -> (IdentityState, [bellwether_decide::campaign::event::Event; 1]) {
    let next = IdentityState { revision: state.revision + 1, ..state.clone() };
    // Every second one moves the campaign's fold to another stage.
    let kind = if next.revision.is_multiple_of(2) { EventKind::Offered } else { EventKind::Asked };
    (next, [sample::event(1, id.as_str(), kind)])
}

fn endpoint(name: &str) -> Result<Endpoint, Failure> {
    Ok(Endpoint::try_from(name)?)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of writes")]
fn per_second(count: usize, began: std::time::Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

const WRITERS: [usize; 4] = [1, 8, 64, 256];

/// Writes of one writer in a window: a single one has 128.
const SHARE_MAX: usize = 128;

/// As many as are heard in ten seconds where each of 60,000 devices is heard once a minute.
const CONTACTS: usize = 10_000;
