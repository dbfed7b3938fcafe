//! What is yet to happen, in order of time; what was planned first happens first among equals.

use mainstay_model::Time;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    entries: BTreeMap<(Time, u64), T>,
    planned: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { entries: BTreeMap::new(), planned: 0 }
    }
}

impl<T> Queue<T> {
    /// Plans a thing.
    pub fn plan(&mut self, at: Time, thing: T) {
        self.planned += 1;
        self.entries.insert((at, self.planned), thing);
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Time> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next thing.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.entries.pop_first().map(|((at, _), thing)| (at, thing))
    }
}
