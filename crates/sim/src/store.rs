//! The controller's durable memory, simulated: what survives its death.

use mainstay_engine::{Change, Row, Table};
use mainstay_model::{ActionId, RecoveryPoint};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    rows: BTreeMap<(Table, String), String>,
    /// The recovery points among the rows, by their keys.
    points: BTreeMap<String, RecoveryPoint>,
    term: Term,
    /// Sabotage: it takes what anybody writes.
    takes_anything: bool,
    /// A backup of the rows, as of when it was made.
    backup: Option<BTreeMap<(Table, String), String>>,
    /// A backup was put back, and no controller has written since.
    put_back: bool,
}

/// A controller's right to write, from its beginning until another begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term(u64);

impl Term {
    /// True of the first controller there ever was.
    pub fn is_first(self) -> bool {
        self.0 <= 1
    }
}

/// Another controller has begun since: nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded;

impl Store {
    /// With nothing in it. Sabotaged, it takes what anybody writes.
    pub fn new(takes_anything: bool) -> Store {
        Store { takes_anything, ..Store::default() }
    }

    /// A controller begins: from now on no other may write.
    pub fn begin_term(&mut self) -> Term {
        self.term = Term(self.term.0 + 1);
        self.term
    }

    /// Somebody makes a backup.
    pub fn back_up(&mut self) {
        self.backup = Some(self.rows.clone());
    }

    /// Somebody puts the backup back; false if there is none.
    pub fn put_back(&mut self) -> bool {
        let Some(backup) = self.backup.clone() else { return false };
        self.rows = backup;
        let points = self.of(Table::Point).filter_map(|(key, body)| Some((key.clone(), point_of(body)?)));
        self.points = points.collect();
        self.put_back = true;
        true
    }

    /// True if a controller that begins now finds a memory that is older than the last one that was written.
    pub fn is_put_back(&self) -> bool {
        self.put_back
    }

    /// True until another controller begins.
    pub fn is_current(&self, term: Term) -> bool {
        term == self.term
    }

    /// Makes changes durable, all of them.
    pub fn persist(&mut self, term: Term, changes: &[Change]) -> Result<(), Superseded> {
        if !self.is_current(term) && !self.takes_anything {
            return Err(Superseded);
        }
        self.put_back = false;
        for change in changes {
            if change.table == Table::Point {
                match change.body.as_deref().and_then(point_of) {
                    Some(point) => self.points.insert(change.key.clone(), point),
                    None => self.points.remove(&change.key),
                };
            }
            let key = (change.table, change.key.clone());
            match &change.body {
                Some(body) => self.rows.insert(key, body.clone()),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }

    /// All that is remembered.
    pub fn rows(&self) -> Vec<Row> {
        let row = |((table, key), body): (&(Table, String), &String)| Row {
            table: *table,
            key: key.clone(),
            body: body.clone(),
        };
        self.rows.iter().map(row).collect()
    }

    /// True if the journal holds the order.
    pub fn knows_order(&self, id: ActionId) -> bool {
        self.of(Table::Order).any(|(key, _)| key.trim_start_matches(|c: char| !c.is_ascii_digit()).parse() == Ok(id.0))
    }

    /// Recovery points on record.
    pub fn points(&self) -> impl Iterator<Item = &RecoveryPoint> {
        self.points.values()
    }

    /// The recovery point in the row of that key.
    pub fn point(&self, key: &str) -> Option<&RecoveryPoint> {
        self.points.get(key)
    }

    fn of(&self, table: Table) -> impl Iterator<Item = (&String, &String)> {
        let rows = self.rows.range((table, String::new())..);
        rows.take_while(move |((of, _), _)| *of == table).map(|((_, key), body)| (key, body))
    }
}

fn point_of(body: &str) -> Option<RecoveryPoint> {
    serde_json::from_str(body).ok()
}
