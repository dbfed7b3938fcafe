//! Faults of guests, and of what is to be done with them.

use super::{Deed, Draw, Drawn, GuestDeed, Kind, Span, WorkloadId};

impl Draw<'_> {
    pub(super) fn on_guest(&mut self, kind: Kind) {
        let Drawn { name, probed } = self.drawn_guest();
        let guest = WorkloadId::from(name);
        let deed = |deed| Deed::Guest(deed, guest.clone());
        match kind {
            Kind::GuestDeath => {
                let deaths = [GuestDeed::Kill, GuestDeed::Signal, GuestDeed::Panic, GuestDeed::Kill];
                let death = self.one_of(&deaths);
                self.now(deed(death));
                if self.random.chance(300) {
                    // While it is being brought back, its owner has enough.
                    self.at = self.at + Span(self.random.between(100, 10_000));
                    self.now(deed(GuestDeed::Shutdown));
                }
            }
            Kind::GuestBoot => {
                let times = self.random.between(2, 30);
                self.pair(Deed::SlowBoot(guest.clone(), times), Deed::SlowBoot(guest.clone(), 1));
                let looping = self.random.chance(400);
                self.at = self.within();
                if looping {
                    self.pair(deed(GuestDeed::BootLoop), deed(GuestDeed::Mend));
                } else {
                    self.now(deed(GuestDeed::Kill));
                }
            }
            Kind::GuestHang if !probed => self.pair(deed(GuestDeed::Hang), deed(GuestDeed::Wake)),
            Kind::GuestHang => match self.random.between(0, 3) {
                0 => self.now(deed(GuestDeed::Hang)),
                1 => self.now(deed(GuestDeed::Stop)),
                2 => self.pair(deed(GuestDeed::Stop), deed(GuestDeed::Continue)),
                _ => self.pair(deed(GuestDeed::Deaf), deed(GuestDeed::Wake)),
            },
            Kind::GuestLock => self.pair(deed(GuestDeed::Lock), deed(GuestDeed::Unlock)),
            Kind::GuestDamage => self.pair(deed(GuestDeed::Damage), deed(GuestDeed::Mend)),
            _ => {
                let own = self.one_of(&[GuestDeed::Shutdown, GuestDeed::Reboot]);
                self.now(deed(own));
            }
        }
    }

    pub(super) fn starts(&mut self) {
        let guest = self.guest();
        if self.random.chance(700) {
            let (times, host) = (self.one_of(&[1, 2, 3]), self.anywhere());
            self.now(Deed::StartFails(guest, times, host));
        } else {
            self.now(Deed::MigrationFails(guest, 1));
        }
    }
}
