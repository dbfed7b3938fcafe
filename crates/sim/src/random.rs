//! Randomness that a seed fixes for ever: one stream per kind of thing and name, so that a new host does not renumber
//! what happens to the others.

/// A stream of numbers (splitmix64: small, fast, good enough to choose faults by; nothing secret hangs on it).
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of `kind` (such as `host/h1`) in the world of `seed`.
    pub fn new(seed: u64, kind: &str) -> Stream {
        // FNV-1a over the name, so that streams of different names start far apart.
        let name = kind
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut stream = Stream(name ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        stream.next();
        stream
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.next() % 1000 < permille
    }

    /// One of the choices; `None` if there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(choices.len()).ok().filter(|length| *length > 0)?;
        choices.get(usize::try_from(self.next() % length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_seed_and_name_only() {
        let draw = |seed, kind| Stream::new(seed, kind).next();
        assert_eq!(draw(7, "host/h1"), draw(7, "host/h1"));
        assert_ne!(draw(7, "host/h1"), draw(7, "host/h2"));
        assert_ne!(draw(7, "host/h1"), draw(8, "host/h1"));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut stream = Stream::new(1, "test");
        assert!((0..1000).all(|_| (5..=9).contains(&stream.between(5, 9))));
        assert!(stream.pick::<u8>(&[]).is_none());
    }
}
