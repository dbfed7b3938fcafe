//! What is yet to happen, in order of time; what was planned first happens first among equals.
//!
//! ```text
//!   near: a ring of the next 8 s, a list for each millisecond  ─┐
//!                                                               ├─▶ the earlier; of equals the far one, which was planned before
//!   far: a heap by time and number                             ─┘
//! ```
//!
//! Nearly all that is planned is near, and costs the same however much is planned. Things stay where they are in a list of
//! places: they are large, and a run plans millions.

use mainstay_model::Time;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Milliseconds of the ring, a power of two; lists are asked for every 5 s.
const RING: u64 = 8_192;
const WORD: u64 = u64::BITS as u64;
/// No place.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    /// Nothing is taken out before this any more: the time of what was taken out last.
    begins: Time,
    /// For each millisecond from `begins` on the last place of its list, which leads to the first.
    ring: Vec<u32>,
    /// A bit for each list that has something.
    used: Vec<u64>,
    far: BinaryHeap<Reverse<(Time, u64, u32)>>,
    places: Vec<Place<T>>,
    free: Vec<u32>,
    planned: u64,
    /// When the next thing happens.
    next: Option<Time>,
}

#[derive(Clone, Debug)]
struct Place<T> {
    thing: Option<T>,
    /// The next one in its list; the first one if it is the last.
    next: u32,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (lists, words) = (RING as usize, (RING / WORD) as usize);
        Queue {
            begins: Time(0),
            ring: vec![NONE; lists],
            used: vec![0; words],
            far: BinaryHeap::new(),
            places: Vec::new(),
            free: Vec::new(),
            planned: 0,
            next: None,
        }
    }
}

impl<T> Queue<T> {
    /// Plans a thing.
    pub fn plan(&mut self, at: Time, thing: T) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push(Place { thing: None, next: NONE });
                u32::try_from(self.places.len() - 1).unwrap_or(NONE)
            }
        };
        self.places[place as usize].thing = Some(thing);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        if at < self.begins || at.0 - self.begins.0 >= RING {
            self.planned += 1;
            return self.far.push(Reverse((at, self.planned, place)));
        }
        let list = (at.0 % RING) as usize;
        let last = std::mem::replace(&mut self.ring[list], place);
        let first = if last == NONE {
            self.used[list / WORD as usize] |= 1 << (list as u64 % WORD);
            place
        } else {
            std::mem::replace(&mut self.places[last as usize].next, place)
        };
        self.places[place as usize].next = first;
    }

    /// When the next thing happens.
    #[inline]
    pub fn next_at(&self) -> Option<Time> {
        self.next
    }

    /// When the next thing in the ring happens.
    fn near_at(&self) -> Option<Time> {
        let begins = self.begins.0 % RING;
        let words = self.used.len() as u64;
        // The first word is looked at twice: its higher bits come first, its lower ones a whole turn later.
        for turn in 0..=words {
            let word = (begins / WORD + turn) % words;
            let mut bits = self.used[word as usize];
            if turn == 0 {
                bits &= u64::MAX << (begins % WORD);
            } else if turn == words {
                bits &= !(u64::MAX << (begins % WORD));
            }
            if bits != 0 {
                let list = word * WORD + u64::from(bits.trailing_zeros());
                return Some(Time(self.begins.0 + (list + RING - begins) % RING));
            }
        }
        None
    }

    /// Takes the next thing.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        let at = self.next?;
        let far = self.far.peek().map(|Reverse((at, ..))| *at);
        let place = if far == Some(at) { self.far.pop()?.0.2 } else { self.take_near(at) };
        self.begins = self.begins.max(at);
        let far = self.far.peek().map(|Reverse((at, ..))| *at);
        self.next = match (far, self.near_at()) {
            (Some(far), Some(near)) => Some(far.min(near)),
            (far, near) => far.or(near),
        };
        self.free.push(place);
        self.places[place as usize].thing.take().map(|thing| (at, thing))
    }

    /// Takes the first place out of a list that has something.
    fn take_near(&mut self, at: Time) -> u32 {
        let list = (at.0 % RING) as usize;
        let last = self.ring[list];
        let first = self.places[last as usize].next;
        if first == last {
            self.ring[list] = NONE;
            self.used[list / WORD as usize] &= !(1 << (list as u64 % WORD));
        } else {
            self.places[last as usize].next = self.places[first as usize].next;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn things_happen_in_order_of_time_and_then_as_they_were_planned() {
        let mut random = Stream::new(7, "queue");
        let mut queue = Queue::default();
        let mut plain: Vec<(Time, u64)> = Vec::new();
        let (mut now, mut number) = (Time(0), 0);
        for _ in 0..20_000 {
            let spread = *random.pick(&[3, 200, RING, RING * 3]).expect("not empty");
            for _ in 0..random.between(0, 2) {
                number += 1;
                let at = Time(now.0 + random.between(0, spread));
                queue.plan(at, number);
                plain.push((at, number));
            }
            plain.sort();
            assert_eq!(queue.next_at(), plain.first().map(|(at, _)| *at));
            if !plain.is_empty() && random.chance(900) {
                let first = plain.remove(0);
                assert_eq!(queue.pop(), Some(first));
                now = first.0;
            }
        }
        for first in plain {
            assert_eq!(queue.pop(), Some(first));
        }
        assert_eq!(queue.pop(), None);
    }
}
