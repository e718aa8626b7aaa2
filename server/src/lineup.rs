//! Who is looked at for the next offers of a campaign: the devices that something just happened to, those that were found
//! ready when there was no room, and a stretch of all others at a time, so that a step costs as much in a fleet of a million
//! as in one of a thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::device::Endpoint;

/// Who is to be looked at.
#[derive(Debug, Default)]
pub struct Lineup(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    marked: BTreeSet<Endpoint>,
    lines: BTreeMap<CampaignId, Line>,
}

/// The devices of one campaign.
#[derive(Debug, Default)]
struct Line {
    /// They can take an offer, but there was no room.
    ready: BTreeSet<Endpoint>,
    rounds: [Round; 2],
}

/// What a round through the devices of a campaign looks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// Devices that an offer is due to.
    Due = 0,
    /// Devices of which nothing was heard while their grant was valid.
    Lost = 1,
}

/// A round through the devices of a campaign, a stretch a step.
#[derive(Clone, Debug, Default)]
struct Round {
    /// The last name that was looked at; `None` at the beginning.
    after: Option<Endpoint>,
    /// Rows of it so far.
    rows: u64,
    /// Whether anything was found in it.
    found: bool,
    /// The second, by the steady clock, from which it goes on.
    rests_until: u64,
}

/// How far a stretch of a round came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// The last name that was looked at; `None` where there is none behind.
    pub until: Option<Endpoint>,
    /// Rows that were read.
    pub rows: usize,
    /// Whether anything was found.
    pub found: bool,
}

impl Lineup {
    /// Notes that something happened to a device: it came, was heard of, or is free for another campaign.
    pub fn mark(&self, device: Endpoint) {
        let mut kept = self.kept();
        if kept.marked.len() >= MARKED_MAX {
            kept.marked.clear();
            kept.begin_anew();
        }
        kept.marked.insert(device);
    }

    /// Notes that devices may be due that nothing happened to: a campaign goes on or gives its devices up.
    pub fn begin_anew(&self) {
        self.kept().begin_anew();
    }

    /// Takes the devices that something happened to, for all campaigns of a step.
    #[must_use]
    pub fn take_marked(&self) -> BTreeSet<Endpoint> {
        std::mem::take(&mut self.kept().marked)
    }

    /// Takes devices of a campaign that were ready before.
    #[must_use]
    pub fn take_ready(&self, campaign: CampaignId, devices_max: usize) -> Vec<Endpoint> {
        let mut kept = self.kept();
        let ready = &mut kept.lines.entry(campaign).or_default().ready;
        let taken: Vec<Endpoint> = ready.iter().take(devices_max).cloned().collect();
        for device in &taken {
            ready.remove(device);
        }
        taken
    }

    /// Keeps devices of a campaign that are ready, and for which there is no room now.
    pub fn keep_ready(&self, campaign: CampaignId, devices: impl IntoIterator<Item = Endpoint>) {
        let mut kept = self.kept();
        let ready = &mut kept.lines.entry(campaign).or_default().ready;
        // Who is left out is found by a round.
        let room = READY_MAX.saturating_sub(ready.len());
        ready.extend(devices.into_iter().take(room));
    }

    /// Tells behind which name a round goes on; `None` while it rests.
    #[must_use]
    pub fn goes_on_after(&self, campaign: CampaignId, look: Look, now: u64) -> Option<Option<Endpoint>> {
        let mut kept = self.kept();
        let round = &kept.lines.entry(campaign).or_default().rounds[look as usize];
        (round.rests_until <= now).then(|| round.after.clone())
    }

    /// Notes how far a round came. One that ended and has found nothing rests, the longer the more it has read.
    pub fn came(&self, campaign: CampaignId, look: Look, stretch: Stretch, now: u64) {
        let mut kept = self.kept();
        let round = &mut kept.lines.entry(campaign).or_default().rounds[look as usize];
        round.rows += stretch.rows as u64;
        round.found |= stretch.found;
        if look == Look::Lost {
            // It looks for what is hours ago.
            round.rests_until = now + 1;
        }
        round.after = stretch.until;
        if round.after.is_none() {
            if !round.found {
                round.rests_until = now + 1 + round.rows / ROWS_A_SECOND;
            }
            (round.rows, round.found) = (0, false);
        }
    }

    /// Forgets the campaigns that do not run.
    pub fn keep_only(&self, running: &BTreeSet<CampaignId>) {
        self.kept().lines.retain(|campaign, _| running.contains(campaign));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn begin_anew(&mut self) {
        for line in self.lines.values_mut() {
            line.rounds[Look::Due as usize] = Round::default();
        }
    }
}

/// Devices that something happened to between two steps: a thousand contacts a second are ten times less. Beyond them
/// a round finds who is due.
const MARKED_MAX: usize = 10_000;

/// Devices of a campaign that wait for room, 100 bytes each: those of ten steps.
const READY_MAX: usize = 10_000;

/// Rows a second that rounds without an end read in the long run: a hundredth of what a store can.
const ROWS_A_SECOND: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: CampaignId = CampaignId(1);
    const NOW: u64 = 1_000;

    fn name(number: usize) -> Endpoint {
        Endpoint::try_from(format!("device-{number:06}")).expect("a name")
    }

    fn stretch(until: Option<usize>, rows: usize, found: bool) -> Stretch {
        Stretch { until: until.map(name), rows, found }
    }

    #[test]
    fn round_goes_on_where_it_stopped_and_rests_at_its_end_the_longer_the_more_it_has_read() {
        let lineup = Lineup::default();
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW), Some(None));
        lineup.came(ONE, Look::Due, stretch(Some(7), 40_000, false), NOW);
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW), Some(Some(name(7))));
        lineup.came(ONE, Look::Due, stretch(None, 0, false), NOW);
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW + 4), None);
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW + 5), Some(None));
    }

    #[test]
    fn round_that_found_somebody_begins_again_at_once() {
        let lineup = Lineup::default();
        lineup.came(ONE, Look::Due, stretch(Some(7), 40_000, true), NOW);
        lineup.came(ONE, Look::Due, stretch(None, 9, false), NOW);
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW), Some(None));
    }

    #[test]
    fn campaign_that_goes_on_ends_the_rest_of_its_round() {
        let lineup = Lineup::default();
        lineup.came(ONE, Look::Due, stretch(None, 9, false), NOW);
        lineup.came(ONE, Look::Lost, stretch(None, 9, false), NOW);
        lineup.begin_anew();
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW), Some(None));
        assert_eq!(lineup.goes_on_after(ONE, Look::Lost, NOW), None);
    }

    #[test]
    fn more_happenings_than_are_kept_begin_a_round_instead() {
        let lineup = Lineup::default();
        lineup.came(ONE, Look::Due, stretch(None, 9, false), NOW);
        for number in 0..=MARKED_MAX {
            lineup.mark(name(number));
        }
        assert_eq!(lineup.take_marked().len(), 1);
        assert_eq!(lineup.goes_on_after(ONE, Look::Due, NOW), Some(None));
    }

    #[test]
    fn devices_that_wait_for_room_are_kept_up_to_a_bound() {
        let lineup = Lineup::default();
        lineup.keep_ready(ONE, (0..READY_MAX + 5).map(name));
        assert_eq!(lineup.take_ready(ONE, 2), [name(0), name(1)]);
        assert_eq!(lineup.take_ready(ONE, READY_MAX).len(), READY_MAX - 2);
        lineup.keep_ready(ONE, [name(3)]);
        lineup.keep_only(&BTreeSet::new());
        assert!(lineup.take_ready(ONE, 9).is_empty());
    }
}
