//! The devices and gateways of a run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use bellwether_agent::update::ShareOffer;
use bellwether_decide::device::Endpoint;
use bellwether_server::core::Core;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::world::desk::{CLASS, Desk, FACTORY, FOREIGN, VENDOR};
use crate::world::device::{Device, Digest, Make, Surroundings};
use crate::world::dice::Dice;
use crate::world::gateway::Gateway;
use crate::world::host::Host;
use crate::world::network::Network;
use crate::world::plan::{self, DevicePlan, Plan, Role};
use crate::world::time::Wall;
use crate::world::trace::{self, Trace};

/// What everybody stands on.
pub(super) struct Ground {
    pub(super) network: Network,
    pub(super) trace: Trace,
    pub(super) wall: Wall,
    pub(super) seed: u64,
}

/// All devices and gateways.
pub(super) struct Population {
    pub(super) subjects: Vec<Subject>,
    pub(super) names: Vec<Endpoint>,
    pub(super) gateways: Vec<Gateway>,
}

/// A device, and its copy once there is one.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) endpoint: Endpoint,
    pub(super) device: Arc<Device>,
    copy: Arc<Mutex<Option<Copied>>>,
    copy_ground: Surroundings,
}

/// A copy, and everything that the device had confirmed when it was made.
type Copied = (Arc<Device>, BTreeSet<Digest>);

impl Population {
    /// Enrols all of a plan; nobody is switched on.
    pub(super) async fn enrol(plan: &Plan, core: &Arc<Core>, desk: &Desk, ground: &Ground) -> Self {
        let mut gateways = Vec::new();
        for number in 0..plan.gateways {
            let address = (plan::gateway_ip(number), GATEWAY_PORT).into();
            let unit = desk.enrol_gateway(core, &gateway_name(number), format!("coaps://{address}")).await;
            let dice = Dice::new(ground.seed, &gateway_name(number));
            let name = gateway_name(number);
            let Ground { network, trace, .. } = ground;
            let wall = Wall::at(ground.wall.seconds());
            gateways.push(Gateway::new(&name, &unit, address, network, trace, &wall, dice));
        }
        let began = trace::now();
        let mut subjects = Vec::new();
        for (number, device) in plan.devices.iter().enumerate() {
            subjects.push(Subject::enrol(plan, number, device, core, desk, ground, began).await);
        }
        let names = subjects.iter().map(|subject| subject.endpoint.clone()).collect();
        Self { subjects, names, gateways }
    }

    /// Switches everybody on, each at its time.
    pub(super) fn switch_on(&self, plan: &Plan, began: Instant, lives: &mut JoinSet<()>) {
        self.gateways.iter().for_each(Gateway::start);
        for (number, (planned, subject)) in plan.devices.iter().zip(&self.subjects).enumerate() {
            let (device, on_after) = (Arc::clone(&subject.device), planned.on_after);
            lives.spawn(async move {
                sleep_until(began + on_after).await;
                device.live().await;
            });
            if let Role::Copied(after) = planned.role {
                let (subject, seed) = (subject.clone(), plan.seed);
                lives.spawn(async move {
                    sleep_until(began + after).await;
                    subject.make_copy(seed, number).live().await;
                });
            }
        }
    }

    /// Takes back what was to happen still.
    pub(super) fn calm(&self) {
        for subject in &self.subjects {
            subject.device.chip.cut_no_more();
        }
    }
}

impl Subject {
    async fn enrol(
        plan: &Plan,
        number: usize,
        planned: &DevicePlan,
        core: &Arc<Core>,
        desk: &Desk,
        ground: &Ground,
        began: Instant,
    ) -> Self {
        let name = format!("device-{number}");
        let class = if planned.role == Role::Foreign { FOREIGN } else { CLASS };
        let gateway = planned.gateway.map(gateway_name);
        let unit = desk.enrol(core, &name, class, gateway).await;
        let make = Make {
            name: name.clone(),
            unit,
            vendor: VENDOR.to_owned(),
            class: class.to_owned(),
            components: plan.components,
            behind_gateway: planned.gateway.is_some(),
            patches: planned.patches,
            share_offer: if planned.shares { ShareOffer::Always } else { ShareOffer::AtChainEnd },
            self_test_fails: planned.role == Role::FailsSelfTest,
            made: ground.wall.seconds(),
            lifetime_s: planned.lifetime_s,
            awake: planned.queue_mode.then_some(AWAKE),
            clock_steps: planned.clock_steps.iter().map(|(after, by)| (began + *after, *by)).collect(),
        };
        let surroundings = |ip| Surroundings {
            machine: Host::on(
                ip,
                &ground.network,
                &ground.wall,
                Dice::new(ground.seed, &format!("{name} at {ip}")),
            ),
            network: ground.network.clone(),
            trace: ground.trace.clone(),
            ip,
        };
        let images = &desk.images[FACTORY];
        let (here, dice) = (surroundings(plan::device_ip(number)), Dice::new(ground.seed, &name));
        let device = Device::make(make, FACTORY, images, plan.image_bytes * 2 + SLOT_EXTRA, here, dice);
        let endpoint = Endpoint::try_from(name.as_str()).expect("a name");
        let copy_ground = surroundings(plan::copy_ip(number));
        Self { endpoint, device: Arc::new(device), copy: Arc::default(), copy_ground }
    }

    fn make_copy(&self, seed: u64, number: usize) -> Arc<Device> {
        let name = format!("copy-{number}");
        let dice = Dice::new(seed, &name);
        let copy = Arc::new(self.device.clone_at(&name, self.copy_ground.clone(), dice));
        let mut with = self.device.seen().confirmed.clone();
        with.insert(self.device.factory_image());
        let mut place = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some((Arc::clone(&copy), with));
        copy
    }

    /// Gives the copy, and what the device had confirmed when it was made.
    pub(super) fn copy(&self) -> Option<Copied> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn gateway_name(number: usize) -> String {
    format!("gateway-{number}")
}

/// Listens for panics of this thread: whatever task they end, the run has failed.
pub(super) struct Panics(());

thread_local! {
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

impl Panics {
    pub(super) fn listen() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let heard =
                    HEARD.with_borrow_mut(|heard| heard.as_mut().map(|heard| heard.push(info.to_string())));
                if heard.is_none() {
                    before(info);
                }
            }));
        });
        HEARD.with_borrow_mut(|heard| *heard = Some(Vec::new()));
        Self(())
    }

    /// Gives what was heard since somebody listens.
    pub(super) fn heard() -> Vec<String> {
        let heard = HEARD.with_borrow_mut(Option::take).unwrap_or_default();
        heard.into_iter().map(|what| format!("nobody panics: {what}")).collect()
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        HEARD.with_borrow_mut(|heard| *heard = None);
    }
}

const GATEWAY_PORT: u16 = 5684;

/// Room in a slot beyond twice the image.
const SLOT_EXTRA: usize = 4096;

/// Time for which devices in queue mode listen after an exchange: as long as the server believes.
const AWAKE: Duration = Duration::from_secs(93);
