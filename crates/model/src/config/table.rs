//! A checked document: every value fits its key, defaults are filled in. Readers ask by key.
//!
//! Readers never fail: what did not fit was reported by the check, and a stand-in takes its place, so that the walk goes
//! on and all problems come at once. The result is thrown away if there was any.

use super::format::memory_mib;
use super::key::Section;
use crate::{Resources, Span};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};
use std::{collections::BTreeMap, ops::Range};

/// A table of known keys.
pub struct Table {
    pub section: &'static Section,
    /// Its header, or the inline table.
    pub at: Range<usize>,
    /// The keys that lead here, joined by dots.
    pub path: String,
    pub fields: BTreeMap<&'static str, Node>,
}

/// A value and where it stands.
pub struct Node {
    pub at: Range<usize>,
    pub value: Value,
}

/// A value that fits its key.
pub enum Value {
    /// It is missing or wrong, which was reported.
    Nothing,
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
    Named(Vec<Entry>),
}

/// A name of the user's choice, and its value.
pub struct Entry {
    pub name: String,
    /// Where the name stands.
    pub at: Range<usize>,
    pub node: Node,
}

impl Table {
    /// The value of a key, if it has one.
    pub fn node(&self, key: &str) -> Option<&Node> {
        debug_assert!(self.section.key(key).is_some(), "`{key}` is not described in {}", self.section.header);
        #[cfg(test)]
        super::tests::note_read(self.section, key);
        self.fields.get(key)
    }

    /// Where the key's value stands, or else the table.
    pub fn at(&self, key: &str) -> Range<usize> {
        self.node(key).map_or(self.at.clone(), |node| node.at.clone())
    }

    /// True if the key is not written.
    pub fn is_default(&self, key: &str) -> bool {
        self.at(key) == self.at
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.node(key), Some(Node { value: Value::Flag(true), .. }))
    }

    /// A whole number; keys of unsigned types are described with bounds that fit them.
    pub fn whole<T: TryFrom<i64> + Default>(&self, key: &str) -> T {
        self.node(key).and_then(Node::whole).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// A number in hundredths, such as percent of a factor.
    pub fn hundredths<T: TryFrom<i64> + Default>(&self, key: &str) -> T {
        match self.node(key) {
            Some(Node { value: Value::Number(number), .. }) => {
                T::try_from((number * 100.0).round() as i64).unwrap_or_default()
            }
            _ => T::default(),
        }
    }

    pub fn text(&self, key: &str) -> &str {
        self.node(key).and_then(Node::text).unwrap_or_default()
    }

    pub fn optional_text(&self, key: &str) -> Option<String> {
        self.node(key).and_then(Node::text).map(str::to_owned)
    }

    pub fn span(&self, key: &str) -> Span {
        self.text(key).parse().unwrap_or_default()
    }

    /// Memory in MiB.
    pub fn memory(&self, key: &str) -> Option<u64> {
        self.node(key).and_then(Node::text).and_then(|text| memory_mib(text).ok())
    }

    /// One of the described words, as the type that knows them.
    pub fn choice<T: DeserializeOwned>(&self, key: &str) -> T {
        let word: Result<T, Error> = T::deserialize(self.text(key).into_deserializer());
        word.expect("choices have defaults and their words are those of the type, see `every_choice_is_understood`")
    }

    /// A table of keys; if it is not there, there are no fields in it.
    pub fn table(&self, key: &str) -> Option<&Table> {
        match self.node(key) {
            Some(Node { value: Value::Table(table), .. }) => Some(table),
            _ => None,
        }
    }

    /// The items of a list; a single value counts as a list of one.
    pub fn items(&self, key: &str) -> &[Node] {
        match self.node(key) {
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node) => std::slice::from_ref(node),
            None => &[],
        }
    }

    /// The texts of a list; a single text counts as a list of one.
    pub fn texts<T: FromIterator<String>>(&self, key: &str) -> T {
        self.items(key).iter().filter_map(Node::text).map(str::to_owned).collect()
    }

    /// The tables of a list of tables.
    pub fn tables(&self, key: &str) -> impl Iterator<Item = &Table> {
        self.items(key).iter().filter_map(Node::table)
    }

    /// Names of the user's choice and their values.
    pub fn named(&self, key: &str) -> &[Entry] {
        match self.node(key) {
            Some(Node { value: Value::Named(entries), .. }) => entries,
            _ => &[],
        }
    }

    /// Memory and vCPUs.
    pub fn resources(&self) -> Resources {
        Resources { memory_mib: self.memory("memory").unwrap_or_default(), cpu_centi: self.hundredths("vcpus") }
    }
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    pub fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(items) if items.is_empty())
    }
    pub fn whole(&self) -> Option<i64> {
        match &self.value {
            Value::Whole(number) => Some(*number),
            _ => None,
        }
    }
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}
