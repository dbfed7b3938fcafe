//! What is yet to happen, in order of time; what was planned first happens first among equals.

use mainstay_model::Time;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Keys are kept in order, things stay where they are: they are large, and a run plans millions.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    order: BinaryHeap<Reverse<(Time, u64, usize)>>,
    things: Vec<Option<T>>,
    free: Vec<usize>,
    planned: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { order: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), planned: 0 }
    }
}

impl<T> Queue<T> {
    /// Plans a thing.
    pub fn plan(&mut self, at: Time, thing: T) {
        self.planned += 1;
        let place = self.free.pop().unwrap_or(self.things.len());
        if place == self.things.len() {
            self.things.push(None);
        }
        self.things[place] = Some(thing);
        self.order.push(Reverse((at, self.planned, place)));
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Time> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next thing.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        self.things[place].take().map(|thing| (at, thing))
    }
}
