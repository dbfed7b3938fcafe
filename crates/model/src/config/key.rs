//! The shape of the configuration as data: sections, their keys, and what fits each key.
//!
//! One description (in [`super::keys`]) drives the check, the readers, the JSON schema, the reference in
//! docs/configuration.md, and the suggestions for misspelt names; so they cannot drift apart.

use super::format::Format;
use toml::de::DeValue;

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its header as a user writes it, such as `[site.NAME]` or `[[vm]]`; empty for the file itself.
    pub header: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What fits it.
    pub kind: Kind,
    /// Whether it must be there, and what holds if it is not.
    pub presence: Presence,
    /// What it means.
    pub doc: &'static str,
}

/// Whether a key must be there, and what holds if it is not.
#[derive(Debug)]
pub enum Presence {
    /// It must be there.
    Required,
    /// Without it, what the doc says.
    Optional,
    /// Without it, this value, in TOML.
    Default(&'static str),
}

/// What fits a key.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Whole(i64, i64),
    /// A number within bounds, with a fraction or not.
    Number(f64, f64),
    /// A text of some format.
    Text(&'static Format),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array of such values.
    List(&'static Kind),
    /// The first of these that has the value's shape.
    OneOf(&'static [Kind]),
    /// A table with these keys.
    Table(&'static Section),
    /// A table whose keys are names of the user's choice: what names are, and what their values are.
    Named(&'static Format, &'static Kind),
}

/// A section's description.
pub const fn section(header: &'static str, doc: &'static str, keys: &'static [Key]) -> Section {
    Section { header, doc, keys }
}

/// A key that may be left out.
pub const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Optional, doc }
}

impl Key {
    /// The key must be there.
    pub const fn required(self) -> Key {
        Key { presence: Presence::Required, ..self }
    }
    /// Without the key, this value (in TOML) holds.
    pub const fn or(self, default: &'static str) -> Key {
        Key { presence: Presence::Default(default), ..self }
    }
}

impl Section {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
    /// All sections below this one, itself first, in the order of the description.
    pub fn all(&'static self) -> Vec<&'static Section> {
        let mut found = vec![];
        self.collect(&mut found);
        found
    }

    fn collect(&'static self, found: &mut Vec<&'static Section>) {
        if !found.iter().any(|other| std::ptr::eq(*other, self)) {
            found.push(self);
            self.keys.iter().for_each(|key| key.kind.collect(found));
        }
    }
}

impl Kind {
    /// What was expected, as the end of a sentence.
    pub fn expected(&self) -> String {
        if let Some(header) = self.header() {
            let several = header.starts_with("[[") || header.ends_with("NAME]");
            return format!("{} written as `{header}`", if several { "tables" } else { "a table" });
        }
        match self {
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Whole(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Number(least, most) => format!("a number from {least} to {most}"),
            Kind::Text(format) => format.what.to_owned(),
            Kind::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
            Kind::List(kind) => format!("a list, each {}", kind.expected()),
            Kind::OneOf(kinds) => kinds.iter().map(Kind::expected).collect::<Vec<_>>().join("; or "),
            Kind::Table(section) => format!("a table with {}", names(section.keys)),
            Kind::Named(_, kind) => format!("a table, each value {}", kind.expected()),
        }
    }

    /// The header under which a user writes such tables, if they have one of their own.
    pub fn header(&self) -> Option<&'static str> {
        match self {
            Kind::Table(section) => Some(section.header).filter(|header| header.starts_with('[')),
            Kind::List(kind) | Kind::Named(_, kind) => kind.header(),
            _ => None,
        }
    }

    /// True if the value has the right shape, whether or not it is right in detail.
    pub fn takes(&self, value: &DeValue<'_>) -> bool {
        match (self, value) {
            (Kind::Flag, DeValue::Boolean(_))
            | (Kind::Whole(..), DeValue::Integer(_))
            | (Kind::Number(..), DeValue::Integer(_) | DeValue::Float(_))
            | (Kind::Text(_) | Kind::Choice(_), DeValue::String(_))
            | (Kind::Table(_) | Kind::Named(..), DeValue::Table(_)) => true,
            (Kind::List(kind), DeValue::Array(items)) => items.iter().all(|item| kind.takes(item.get_ref())),
            (Kind::OneOf(kinds), value) => kinds.iter().any(|kind| kind.takes(value)),
            _ => false,
        }
    }

    fn collect(&self, found: &mut Vec<&'static Section>) {
        match self {
            Kind::Table(section) => section.collect(found),
            Kind::List(kind) | Kind::Named(_, kind) => kind.collect(found),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| kind.collect(found)),
            _ => {}
        }
    }
}

/// Names of keys as a list for people.
pub fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
}
