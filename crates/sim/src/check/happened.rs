//! What truly happened, as every rule hears of it.

use super::Checker;
use crate::world::{Starter, Truth, World};
use mainstay_model::{HostId, WorkloadId};

impl Checker {
    /// What truly happened.
    pub fn happened(&mut self, world: &World, truth: &Truth) {
        match truth {
            Truth::Started { guest, host, by } => self.started(world, guest, host, *by),
            Truth::Moved { guest, to, by, .. } => {
                self.moves.went_away(guest);
                self.last_ran.insert(guest.clone(), to.clone());
                self.stops.moved(guest);
                // What arrives had begun to leave before an operator said stop (scenario 804).
                if *by == Starter::Person && !self.stops.commanded_off(guest) {
                    self.stops.over(guest);
                }
            }
            Truth::Resumed { guest, host } => self.resumed(world, guest, host),
            Truth::PowerLost { host } | Truth::Hibernated { host } => {
                if matches!(truth, Truth::Hibernated { .. }) {
                    self.alone.hibernated(host, world.now);
                }
                self.alone.power_lost(host);
                self.signs.power_lost(host, world.now);
                self.goodbyes.power_lost(host, world.now);
                self.disturb_guests_of(host);
            }
            Truth::Ended { guest, why, .. } => {
                self.goodbyes.ended(guest, world.now);
                self.stops.ended(guest, *why, world.now);
            }
            Truth::Reverted { guest, .. } => {
                if world.guests.get(guest).is_some_and(|guest| guest.disk.loops) {
                    self.reverted_to_a_loop.insert(guest.clone());
                } else {
                    self.reverted_to_a_loop.remove(guest);
                }
            }
            Truth::PersonStopped { guest } => self.stops.happened(guest, world.now),
            Truth::Redefined { guest, .. } => self.stops.redefined(guest, world.now),
            Truth::PointDeleted { guest, point, .. } => self.points.gone(guest, point, world.now),
            _ => {}
        }
    }

    fn started(&mut self, world: &World, guest: &WorkloadId, host: &HostId, by: Starter) {
        if self.last_ran.get(guest).is_some_and(|ran| ran != host) {
            self.moves.went_away(guest);
        }
        self.last_ran.insert(guest.clone(), host.clone());
        self.alone.started(guest, host);
        if by != Starter::Controller {
            self.began.remove(guest);
            self.stops.started_by_others(guest, host, world.now);
        } else {
            self.began.insert(guest.clone(), world.now);
            self.stops.started_by_controller(guest);
        }
        // A start that left before an operator said stop, or before a person's stop was on record, does not end that wish (scenario 818).
        let on_record = self.is_on_record_as_stopped(guest) && self.stops.wanted_off(guest);
        // But after another start was done it can't be told from a person's (scenario 860).
        let as_a_persons = self.newest_is_done.contains(&(guest.clone(), host.clone()));
        // Nor is it the VM that was stopped, if the only one of that name that the controller was told of is another (scenario 883).
        let uuid = world.guests.get(guest).map(|it| &it.uuid);
        let as_another = uuid.is_some() && self.uuids.get(guest).is_some_and(|told| Some(told) != uuid);
        let stopped = self.stops.commanded_off(guest) || on_record && !as_a_persons;
        // A person's start where one of the controller's own hangs can't be told from that one (scenario 915).
        let as_ours = by == Starter::Person && on_record && self.evidence.may_come(guest, host);
        let late = by == Starter::Controller && stopped && !as_another || as_ours;
        // Of a start on a host that was out of sight since an operator's stop nothing is known: that word is the last (scenario 958).
        let unseen = self.stops.operators_word(guest).is_some_and(|at| self.signs.unheard_since(host, at));
        if !late {
            self.stops.started(guest);
        }
        // What its host started alone the controller still restarts, if an operator asked for that (scenario 520).
        // A stop that an operator asked for and that is still being tried ends by no start that the controller was not told of (scenarios 871 and 872).
        let unaware = by == Starter::Person && (self.stops.is_being_stopped(guest) || unseen);
        if !late && !unaware && by != Starter::Autostart {
            self.signs.started(guest, by == Starter::Person && self.evidence.may_come(guest, host));
        }
        if by != Starter::Autostart && !late && !unaware {
            self.stops.wanted(guest);
        }
        if by != Starter::Controller {
            self.attempts.entry(guest.clone()).or_default().disturbed();
        }
        if by == Starter::Controller {
            self.count_start(world, guest);
        }
        self.runs_once(world, guest, host, by);
    }

    fn disturb_guests_of(&mut self, host: &HostId) {
        let here: Vec<_> =
            self.last_ran.iter().filter(|(_, ran)| *ran == host).map(|(guest, _)| guest.clone()).collect();
        for guest in here {
            self.attempts.entry(guest).or_default().disturbed();
        }
    }
}
