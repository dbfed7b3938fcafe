//! Two controllers at once: one stood still (a suspended machine), another took over in the next term, and then the first
//! wakes up and acts until it finds out that it leads no more.

use crate::{leader::Leader, run::Simulation, sabotage::Sabotage, store::Term};
use mainstay_engine::Input;
use mainstay_model::{Order, Span, Time};

/// With nothing to say it would never find out; by then it has seen that every host is silent.
const TURNS: u32 = 120;

/// A controller that does not know that its term is over.
pub(crate) struct Rival {
    leader: Box<dyn Leader>,
    term: Term,
    /// Durable when it fell asleep, and not sent yet.
    held: Vec<Order>,
    inbox: Vec<Input>,
    pub wakes_at: Time,
    turns: u32,
}

impl Simulation {
    /// The controller stands still for so long, and another begins at once.
    pub(super) fn overtaken(&mut self, held: Vec<Order>, span: Span) {
        let Some(leader) = self.leader.take() else { return };
        let now = self.world.now;
        self.record.note(now, format_args!("the controller stands still for {span}, and another takes over"));
        let inbox = std::mem::take(&mut self.inbox);
        self.rival = Some(Rival { leader, term: self.term, held, inbox, wakes_at: now + span, turns: 0 });
        self.crash = None;
        self.begin();
    }

    /// It wakes up, sends what it had not sent, and goes on.
    pub(super) fn rival_turns(&mut self) {
        let now = self.world.now;
        let Some(mut rival) = self.rival.take() else { return };
        if rival.turns == 0 {
            self.record.note(now, format_args!("the controller that stood still wakes up, and believes that it leads"));
            self.checker.rival_wakes();
        }
        rival.turns += 1;
        for order in std::mem::take(&mut rival.held) {
            if !self.send(rival.term, order) {
                return;
            }
        }
        let mut inputs = std::mem::take(&mut rival.inbox);
        inputs.push(Input::Tick);
        let step = rival.leader.step(now, &mut inputs);
        let silent = step.changes.is_empty() && step.events.is_empty();
        if !silent && self.store.persist(rival.term, &step.changes).is_err() {
            let text = "what it decided can't be remembered: its term is over, and it does nothing more";
            return self.record.note(now, format_args!("{text}"));
        }
        if !silent {
            self.checker.rival_writes(&self.world);
        }
        for order in step.orders {
            if !self.send(rival.term, order) {
                return;
            }
        }
        rival.wakes_at = step.wake_at.unwrap_or(now).max(now + Span::millis(100));
        self.rival = Some(rival).filter(|rival| rival.turns < TURNS);
    }

    /// Lets an order leave, if the term it is of has not ended meanwhile.
    pub(super) fn send(&mut self, term: Term, order: Order) -> bool {
        let leads = self.store.is_current(term);
        if !leads && !self.elect.lacks(Sabotage::StaleEpoch) {
            let text = format_args!("{} ({}) does not leave: its term is over", order.id, order.action);
            self.record.note(self.world.now, text);
            return false;
        }
        self.checker.leaves(&self.world, &self.store, &order, leads);
        self.record.order(self.world.now, &order);
        self.world.carry_out(order);
        true
    }
}
