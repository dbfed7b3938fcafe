//! A map of the few channels of a host or guest: a list in order, since a tree of four costs more than it saves, and every
//! sign of life is noted in one.

/// Values by key, in order of the keys.
#[derive(Clone, Debug)]
pub(crate) struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few(Vec::new())
    }
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
    /// The value of this key; a new one if there is none.
    pub(crate) fn of(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = match self.0.iter().position(|(known, _)| *known >= key) {
            Some(place) if self.0.get(place).is_some_and(|(known, _)| *known == key) => place,
            place => {
                let place = place.unwrap_or(self.0.len());
                self.0.insert(place, (key, V::default()));
                place
            }
        };
        &mut self.0[place].1
    }
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key_and_come_in_order() {
        let mut few = Few::default();
        for key in [3, 1, 2, 1] {
            *few.of(key) += 10 * key;
        }
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&1, &20), (&2, &20), (&3, &30)]);
        assert_eq!((few.get(&2), few.get(&4)), (Some(&20), None));
    }
}
