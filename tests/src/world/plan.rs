//! What befalls one world, drawn from its seed beforehand: who is in it, what goes wrong when, and what operators do.
//!
//! A plan is plain data, so it can be printed, and a part of it left out to see what a failure hangs on. After the last
//! happening comes a calm time, in which everything must come to its end.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::dice::Dice;
use super::network::Conditions;

/// A whole plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// What datagrams meet until the calm.
    pub weather: Conditions,
    /// Number of gateways.
    pub gateways: usize,
    /// The devices, in the order in which they are switched on.
    pub devices: Vec<DevicePlan>,
    /// Bytes of the images.
    pub image_bytes: usize,
    /// Components of each device: 1, or 2, and then the second one's images are half as large.
    pub components: usize,
    /// How the first campaign is paced.
    pub policy: PolicyPlan,
    /// What happens, when: in order, counted from the launch.
    pub happenings: Vec<(Duration, Happening)>,
    /// Time from the launch to the calm.
    pub storm: Duration,
}

/// A device of the plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DevicePlan {
    /// What is true of it.
    pub role: Role,
    /// The gateway that it is behind.
    pub gateway: Option<usize>,
    /// Whether it applies deltas.
    pub patches: bool,
    /// Whether it always offers a share for its next seed.
    pub shares: bool,
    /// Lifetime of its registration, in seconds.
    pub lifetime_s: u32,
    /// Whether it is in queue mode.
    pub queue_mode: bool,
    /// When it is switched on, counted from the launch.
    pub on_after: Duration,
    /// Jumps of its clock: when, and by how much ahead.
    pub clock_steps: Vec<(Duration, Duration)>,
}

/// What is true of a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It does what it should.
    Honest,
    /// Every image but its first fails its self-test.
    FailsSelfTest,
    /// It is of a class that the manifest does not serve, and targeted by name all the same.
    Foreign,
    /// It is copied, key and flash, after so long; then both go on.
    Copied(Duration),
}

/// How a campaign is paced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PolicyPlan {
    /// Devices at work at a time.
    pub at_most: Option<u32>,
    /// Whether every device gets a new epoch of keys.
    pub reseed: bool,
    /// Whether devices ask before they start the image.
    pub ask_go: bool,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happening {
    /// Nothing goes to or from someone for a while.
    Outage(Who, Duration),
    /// A translator gives the links of a device another address.
    Rebind(usize),
    /// A device loses power now.
    PowerCut(usize),
    /// A device loses power after so many writes and commits of its flash.
    PowerCutAfter(usize, u64),
    /// The server dies, and is started again after a while.
    ServerCrash(Crash, Duration),
    /// A gateway dies, and is started again after a while.
    GatewayCrash(usize, Duration),
    /// A translator gives the way out of a gateway another address.
    GatewayRebind(usize),
    /// The server's wall clock jumps, by so many seconds.
    ServerClock(i64),
    /// That of a gateway does.
    GatewayClock(usize, i64),
    /// The server's data base is backed up.
    Backup,
    /// The server's disk is lost, and after a while it is started on the backup.
    Restore(Duration),
    /// Somebody orders something.
    Operator(Act),
}

/// Whom an outage concerns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// All.
    Everyone,
    /// The server.
    Server,
    /// A gateway.
    Gateway(usize),
    /// A device.
    Device(usize),
}

/// When a server dies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Crash {
    /// At once.
    Now,
    /// It is asked to end, and puts the sessions of its devices to sleep.
    Stop,
    /// When it is about to make the n-th commit from now, which is then not made.
    Before(u64),
    /// When it has made the n-th commit from now, and does not know it.
    After(u64),
}

/// What operators order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Stop the first campaign for a while.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// Try what failed or was refused again.
    RetryFailed,
    /// Launch another campaign with a newer image for the same devices.
    Second,
    /// Say that the database was restored, though it was not: every device is challenged.
    ResyncAll,
    /// Bring anchors with another author beside the one that there is.
    Anchors,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let dice = &mut dice;
        let gateways = usize::from(dice.happens(600)) + usize::from(dice.happens(150));
        let storm = Duration::from_secs(dice.between(120, 1_200));
        let devices = draw_devices(dice, gateways, storm);
        let mut plan = Self {
            seed,
            weather: draw_weather(dice),
            gateways,
            image_bytes: draw_size(dice, 2_000, 40_000),
            components: 1,
            policy: draw_policy(dice, &devices),
            happenings: Vec::new(),
            devices,
            storm,
        };
        plan.draw_happenings(dice);
        plan.draw_more(&mut Dice::new(seed, "more of the plan"));
        plan
    }

    /// Draws the plan of a seed in which nothing goes wrong: what the others are measured by.
    pub fn calm(seed: u64) -> Self {
        let mut plan = Self::draw(seed);
        plan.weather = Conditions::CALM;
        plan.happenings.clear();
        for device in &mut plan.devices {
            device.clock_steps.clear();
        }
        plan
    }

    fn draw_happenings(&mut self, dice: &mut Dice) {
        let mut happenings = Vec::new();
        for device in 0..self.devices.len() {
            self.draw_for_device(dice, device, &mut happenings);
        }
        for gateway in 0..self.gateways {
            times(dice, 400, 2, |dice| {
                happenings_push(dice, &mut happenings, self.storm, |dice| {
                    Happening::GatewayCrash(gateway, seconds(dice, 1, 120))
                });
            });
        }
        times(dice, 600, 3, |dice| {
            happenings_push(dice, &mut happenings, self.storm, |dice| {
                Happening::ServerCrash(draw_crash(dice), seconds(dice, 1, 90))
            });
        });
        times(dice, 400, 3, |dice| {
            let who = self.draw_who(dice);
            happenings_push(dice, &mut happenings, self.storm, |dice| {
                Happening::Outage(who, seconds(dice, 5, 240))
            });
        });
        times(dice, 200, 2, |dice| {
            let by = i64::try_from(dice.between(0, 1_200)).unwrap_or_default() - 600;
            happenings_push(dice, &mut happenings, self.storm, |_| Happening::ServerClock(by));
        });
        self.draw_acts(dice, &mut happenings);
        happenings.sort_by_key(|(at, _)| *at);
        self.happenings = happenings;
    }

    /// Draws what came to the world later, of dice of its own: so the seeds before it still draw what they drew.
    fn draw_more(&mut self, dice: &mut Dice) {
        self.components = if dice.happens(250) { 2 } else { 1 };
        let storm = self.storm;
        for device in &mut self.devices {
            if dice.happens(80) {
                device.clock_steps.push((moment(dice, storm), Duration::from_secs(far(dice))));
            }
        }
        let mut happenings = std::mem::take(&mut self.happenings);
        times(dice, 200, 2, |dice| {
            happenings_push(dice, &mut happenings, storm, |dice| {
                Happening::ServerCrash(Crash::Stop, seconds(dice, 1, 90))
            });
        });
        let has_second = happenings.iter().any(|(_, one)| *one == Happening::Operator(Act::Second));
        if dice.happens(150) && !has_second {
            // Long enough for every session to sleep, and for what was given to end.
            let idle = seconds(dice, 1_200, 7_200);
            happenings.push((storm + idle, Happening::Operator(Act::Second)));
            self.storm = storm + idle;
        }
        times(dice, 120, 2, |dice| {
            happenings_push(dice, &mut happenings, storm, |dice| {
                Happening::ServerClock(far_either_way(dice))
            });
        });
        for gateway in 0..self.gateways {
            times(dice, 300, 2, |dice| {
                happenings_push(dice, &mut happenings, storm, |_| Happening::GatewayRebind(gateway));
            });
            times(dice, 200, 2, |dice| {
                happenings_push(dice, &mut happenings, storm, |dice| {
                    Happening::GatewayClock(gateway, far_either_way(dice))
                });
            });
        }
        self.draw_restore(dice, &mut happenings);
        happenings.sort_by_key(|(at, _)| *at);
        self.happenings = happenings;
    }

    /// A restore lets a copy pass for its device, as SECURITY.md says; and numbers of grants come of the clock, so that
    /// one which goes back as well may give one twice. Neither is drawn with it.
    fn draw_restore(&self, dice: &mut Dice, happenings: &mut Vec<(Duration, Happening)>) {
        let has_copy = self.devices.iter().any(|device| matches!(device.role, Role::Copied(_)));
        let goes_back = happenings.iter().any(|(_, one)| matches!(one, Happening::ServerClock(..0)));
        if !dice.happens(250) || has_copy || goes_back {
            return;
        }
        let backup = moment(dice, self.storm);
        let restore = backup + moment(dice, self.storm.saturating_sub(backup));
        happenings.push((backup, Happening::Backup));
        happenings.push((restore, Happening::Restore(seconds(dice, 1, 120))));
    }

    fn draw_for_device(&self, dice: &mut Dice, device: usize, happenings: &mut Vec<(Duration, Happening)>) {
        times(dice, 500, 3, |dice| {
            happenings_push(dice, happenings, self.storm, |dice| {
                if dice.happens(800) {
                    let steps = draw_size(dice, 0, 120) as u64;
                    Happening::PowerCutAfter(device, steps)
                } else {
                    Happening::PowerCut(device)
                }
            });
        });
        times(dice, 300, 2, |dice| {
            happenings_push(dice, happenings, self.storm, |_| Happening::Rebind(device));
        });
    }

    fn draw_acts(&self, dice: &mut Dice, happenings: &mut Vec<(Duration, Happening)>) {
        let mut act = |dice: &mut Dice, permille, act| {
            let at = moment(dice, self.storm);
            if dice.happens(permille) {
                happenings.push((at, Happening::Operator(act)));
            }
            at
        };
        let is_paused = dice.happens(200);
        let paused = act(dice, if is_paused { 1000 } else { 0 }, Act::Pause);
        act(dice, 80, Act::Cancel);
        act(dice, 150, Act::RetryFailed);
        act(dice, 300, Act::Second);
        act(dice, 100, Act::ResyncAll);
        act(dice, 150, Act::Anchors);
        if is_paused {
            let resumed = paused + seconds(dice, 1, 300).min(self.storm.saturating_sub(paused));
            happenings.push((resumed, Happening::Operator(Act::Resume)));
        }
    }

    fn draw_who(&self, dice: &mut Dice) -> Who {
        let device = usize_between(dice, 0, self.devices.len() - 1);
        let gateway = usize_between(dice, 0, self.gateways.max(1) - 1);
        let whos = [Who::Everyone, Who::Server, Who::Device(device), Who::Gateway(gateway)];
        dice.one_of(&whos[..if self.gateways == 0 { 3 } else { 4 }])
    }

    /// Tells whether the plan has an operator do that.
    pub fn orders(&self, act: Act) -> bool {
        self.happenings.iter().any(|(_, happening)| *happening == Happening::Operator(act))
    }
}

/// Addresses of the world.
pub fn server_ip() -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1).into()
}

/// Address of a gateway.
pub fn gateway_ip(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 1, 0, octet(number)).into()
}

/// Address of a device.
pub fn device_ip(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 2, 0, octet(number)).into()
}

/// Address of a device's copy.
pub fn copy_ip(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 3, 0, octet(number)).into()
}

/// Address that a translator lends.
pub fn translator_ip(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 9, octet(number >> 8), octet(number & 0xff)).into()
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("a small world")
}

fn draw_devices(dice: &mut Dice, gateways: usize, storm: Duration) -> Vec<DevicePlan> {
    let count = usize_between(dice, 1, DEVICES_MAX);
    let copied = dice.happens(150).then(|| usize_between(dice, 0, count - 1));
    let role = |dice: &mut Dice, number| match dice.between(0, 15) {
        _ if copied == Some(number) => Role::Copied(moment(dice, storm)),
        0 => Role::FailsSelfTest,
        1 => Role::Foreign,
        _ => Role::Honest,
    };
    (0..count)
        .map(|number| {
            let role = role(dice, number);
            let gateway = (gateways > 0 && dice.happens(700)).then(|| usize_between(dice, 0, gateways - 1));
            let (patches, shares) = (dice.happens(600), dice.happens(200));
            let lifetime_s = u32::try_from(dice.between(60, 900)).unwrap_or(60);
            DevicePlan {
                role,
                gateway,
                patches,
                shares,
                lifetime_s,
                // Not drawn: earlier seeds go on as they went. One behind a gateway would wake for its hellos.
                queue_mode: gateway.is_none() && lifetime_s % 4 == 0,
                on_after: if dice.happens(700) { Duration::ZERO } else { moment(dice, storm) },
                clock_steps: draw_clock_steps(dice, storm),
            }
        })
        .collect()
}

fn draw_clock_steps(dice: &mut Dice, storm: Duration) -> Vec<(Duration, Duration)> {
    let steps = if dice.happens(250) { dice.between(1, 3) } else { 0 };
    (0..steps).map(|_| (moment(dice, storm), seconds(dice, 1, 600))).collect()
}

fn draw_weather(dice: &mut Dice) -> Conditions {
    let delay_least_ms = dice.one_of(&[1, 5, 20, 80, 300]);
    Conditions {
        loss_permille: dice.one_of(&[0, 0, 20, 50, 100, 200, 300]),
        duplicate_permille: dice.one_of(&[0, 0, 20, 100]),
        reorder_permille: dice.one_of(&[0, 0, 50, 200]),
        delay_least_ms,
        delay_most_ms: delay_least_ms + dice.one_of(&[0, 10, 100, 1_000]),
        late_most_ms: dice.one_of(&[50, 500, 5_000]),
    }
}

fn draw_policy(dice: &mut Dice, devices: &[DevicePlan]) -> PolicyPlan {
    let most = u32::try_from(devices.len()).unwrap_or(1);
    PolicyPlan {
        at_most: dice.happens(300).then(|| u32::try_from(dice.between(1, most.into())).unwrap_or(1)),
        reseed: dice.happens(200),
        ask_go: dice.happens(200),
    }
}

fn draw_crash(dice: &mut Dice) -> Crash {
    let commits = draw_size(dice, 1, 60) as u64;
    dice.one_of(&[Crash::Now, Crash::Before(commits), Crash::After(commits)])
}

fn times(dice: &mut Dice, permille: u32, most: u64, mut draw: impl FnMut(&mut Dice)) {
    if dice.happens(permille) {
        for _ in 0..dice.between(1, most) {
            draw(dice);
        }
    }
}

/// Draws small ones as often as large ones: each power of two alike.
fn draw_size(dice: &mut Dice, least: usize, most: usize) -> usize {
    let doublings = dice.between(0, u64::from((most / least.max(1)).max(1).ilog2()));
    let top = (least.max(1) << doublings).saturating_mul(2).min(most);
    usize_between(dice, least, top)
}

fn happenings_push(
    dice: &mut Dice,
    happenings: &mut Vec<(Duration, Happening)>,
    storm: Duration,
    draw: impl FnOnce(&mut Dice) -> Happening,
) {
    let at = moment(dice, storm);
    happenings.push((at, draw(dice)));
}

/// A moment of the storm: early ones more often, since that is when most is under way.
fn moment(dice: &mut Dice, storm: Duration) -> Duration {
    let ms = u64::try_from(storm.as_millis()).unwrap_or(u64::MAX);
    let most = dice.one_of(&[ms, ms / 4, ms / 16]);
    Duration::from_millis(dice.between(0, most))
}

/// Seconds by which a clock may be wrong that somebody set by hand: up to 100 days, so that all that befalls one world
/// leaves no two clocks further apart than grants bridge.
fn far(dice: &mut Dice) -> u64 {
    let most = dice.one_of(&[3_600, 86_400, 30 * 86_400, 100 * 86_400]);
    dice.between(most / 24, most)
}

fn far_either_way(dice: &mut Dice) -> i64 {
    let by = i64::try_from(far(dice)).unwrap_or_default();
    if dice.happens(500) { by } else { -by }
}

fn seconds(dice: &mut Dice, least: u64, most: u64) -> Duration {
    Duration::from_secs(dice.between(least, most))
}

fn usize_between(dice: &mut Dice, least: usize, most: usize) -> usize {
    usize::try_from(dice.between(least as u64, most as u64)).unwrap_or(least)
}

/// Devices of one world: enough for queues at a gateway, few enough for a second of real time.
const DEVICES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_draws_the_same_plan() {
        assert_eq!(Plan::draw(17), Plan::draw(17));
        assert_ne!(Plan::draw(17), Plan::draw(18));
    }

    #[test]
    fn happenings_come_in_order_and_before_the_calm() {
        for seed in 0..500 {
            let plan = Plan::draw(seed);
            assert!(plan.happenings.is_sorted_by_key(|(at, _)| *at));
            assert!(plan.happenings.iter().all(|(at, _)| *at <= plan.storm), "{plan:#?}");
        }
    }

    #[test]
    fn everything_that_can_be_planned_is_planned_for_some_seed() {
        let plans: Vec<Plan> = (0..300).map(Plan::draw).collect();
        let happens = |kind: fn(&Happening) -> bool| {
            plans.iter().any(|plan| plan.happenings.iter().any(|(_, happening)| kind(happening)))
        };
        assert!(happens(|one| matches!(one, Happening::Outage(Who::Gateway(_), _))));
        assert!(happens(|one| matches!(one, Happening::Rebind(_))));
        assert!(happens(|one| matches!(one, Happening::PowerCut(_))));
        assert!(happens(|one| matches!(one, Happening::PowerCutAfter(..))));
        assert!(happens(|one| matches!(one, Happening::ServerCrash(Crash::Before(_), _))));
        assert!(happens(|one| matches!(one, Happening::ServerCrash(Crash::After(_), _))));
        assert!(happens(|one| matches!(one, Happening::ServerCrash(Crash::Stop, _))));
        assert!(happens(|one| matches!(one, Happening::Restore(_))));
        assert!(happens(|one| matches!(one, Happening::GatewayCrash(..))));
        let longest = Duration::from_mins(40);
        assert!(plans.iter().any(|plan| plan.storm > longest), "a world is idle for a while");
        assert!(happens(|one| matches!(one, Happening::ServerClock(_))));
        assert!(happens(|one| matches!(one, Happening::ServerClock(..-86_400))));
        assert!(happens(|one| matches!(one, Happening::GatewayClock(..))));
        assert!(happens(|one| matches!(one, Happening::GatewayRebind(_))));
        assert!(plans.iter().any(|plan| plan.components == 2));
        for act in [
            Act::Pause,
            Act::Resume,
            Act::Cancel,
            Act::RetryFailed,
            Act::Second,
            Act::ResyncAll,
            Act::Anchors,
        ] {
            assert!(plans.iter().any(|plan| plan.orders(act)), "{act:?}");
        }
        let has = |role: fn(&Role) -> bool| {
            plans.iter().any(|plan| plan.devices.iter().any(|device| role(&device.role)))
        };
        assert!(has(|role| *role == Role::FailsSelfTest));
        assert!(has(|role| *role == Role::Foreign));
        assert!(has(|role| matches!(role, Role::Copied(_))));
    }
}
