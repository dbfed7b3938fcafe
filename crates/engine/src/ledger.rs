//! A map whose changes are remembered until they are made durable.

use crate::{Change, Row, Table, control::BadRow};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// Most rows take no more bytes than this.
const MOST_ROWS: usize = 1_024;

/// Something durable: it knows its table and its key.
pub(crate) trait Record: Clone + Serialize + DeserializeOwned {
    /// Its key in memory.
    type Key: Ord + Clone + Display;
    /// Its table.
    const TABLE: Table;
    /// Its key.
    fn key(&self) -> Self::Key;
}

/// Durable records by key.
#[derive(Clone, Debug)]
pub(crate) struct Ledger<R: Record> {
    records: BTreeMap<R::Key, R>,
    changed: BTreeSet<R::Key>,
}

impl<R: Record> Default for Ledger<R> {
    fn default() -> Self {
        Ledger { records: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<R: Record> Ledger<R> {
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.records.get(key)
    }
    /// The record for changing; it will be written. Do not call it for looking.
    pub(crate) fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        let record = self.records.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(record)
    }
    /// Changes every record; each will be written.
    pub(crate) fn change_all(&mut self, change: impl FnMut(&mut R)) {
        self.changed.extend(self.records.keys().cloned());
        self.records.values_mut().for_each(change);
    }
    pub(crate) fn put(&mut self, record: R) {
        let key = record.key();
        self.changed.insert(key.clone());
        self.records.insert(key, record);
    }
    pub(crate) fn remove(&mut self, key: &R::Key) -> Option<R> {
        let gone = self.records.remove(key)?;
        self.changed.insert(key.clone());
        Some(gone)
    }
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &R> {
        self.records.values()
    }
    pub(crate) fn keys(&self) -> impl Iterator<Item = &R::Key> {
        self.records.keys()
    }
    pub(crate) fn range<B: std::ops::RangeBounds<R::Key>>(&self, bounds: B) -> impl Iterator<Item = (&R::Key, &R)> {
        self.records.range(bounds)
    }
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
    pub(crate) fn contains(&self, key: &R::Key) -> bool {
        self.records.contains_key(key)
    }

    /// Reads one row back.
    pub(crate) fn restore(&mut self, row: &Row) -> Result<(), BadRow> {
        let record: R = serde_json::from_str(&row.body).map_err(|source| BadRow {
            table: row.table,
            key: row.key.clone(),
            source,
        })?;
        self.records.insert(record.key(), record);
        Ok(())
    }

    /// What changed since the last call: nothing, most of the time.
    #[inline]
    pub(crate) fn take_changes(&mut self, changes: &mut Vec<Change>) {
        if !self.changed.is_empty() {
            self.write_changes(changes);
        }
    }

    fn write_changes(&mut self, changes: &mut Vec<Change>) {
        for key in std::mem::take(&mut self.changed) {
            let body = self.records.get(&key).map(text);
            changes.push(Change { table: R::TABLE, key: key.to_string(), body });
        }
    }
}

/// A record as its row has it.
fn text<R: Serialize>(record: &R) -> String {
    let mut text = Vec::with_capacity(MOST_ROWS);
    serde_json::to_writer(&mut text, record).expect("a record has only string keys and finite numbers");
    String::from_utf8(text).expect("JSON is UTF-8")
}
