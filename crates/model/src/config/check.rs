//! Holds a parsed document against the description of the keys: unknown keys, wrong values and missing keys are
//! reported, all of them; what fits becomes a [`Table`], with defaults filled in.

use super::key::{Key, Kind, Presence, Section, names};
use super::nearest::nearest;
use super::problem::{MISSING_KEY, NOT_TOML, Report, TWICE, UNKNOWN_KEY, WRONG_VALUE};
use super::table::{Entry, Node, Table, Value};
use super::{format::Format, keys};
use crate::is_secret;
use std::{collections::BTreeMap, ops::Range};
use toml::de::{DeInteger, DeTable, DeValue};

/// More are of no help: it is another file, or one wound of it shows everywhere.
const ERRORS_SHOWN: usize = 100;

/// Parses the text and holds it against the description of the whole file.
pub fn document(text: &str, report: &mut Report) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    let more = errors.len().saturating_sub(ERRORS_SHOWN);
    for error in errors.into_iter().take(ERRORS_SHOWN) {
        let span = error.span().unwrap_or(text.len()..text.len());
        let found = text.get(span.clone()).unwrap_or_default();
        if error.message().starts_with("duplicate key") {
            report.error(TWICE, &span, format!("`{found}` is written twice")).help("keep one of the two");
        } else if found.starts_with(char::is_alphanumeric) && !error.message().contains("key") {
            report
                .error(NOT_TOML, &span, format!("this is not TOML: `{found}` is no value"))
                .help(format!("texts stand in quotes: \"{found}\""));
        } else {
            report.error(NOT_TOML, &span, format!("this is not TOML: {}", error.message()));
        }
    }
    if more > 0 {
        report
            .error(NOT_TOML, &(text.len()..text.len()), format!("this is not TOML in {more} more places"))
            .help("is it the right file? `mainstay config example` shows what it looks like");
        return Checker { report, path: vec![] }.table(&keys::FILE, &DeTable::new(), 0..0);
    }
    Checker { report, path: vec![] }.table(&keys::FILE, document.get_ref(), 0..0)
}

/// Where the walk is, as the keys that lead there.
struct Checker<'r> {
    report: &'r mut Report,
    path: Vec<String>,
}

impl Checker<'_> {
    fn table(&mut self, section: &'static Section, table: &DeTable<'_>, at: Range<usize>) -> Table {
        let mut fields = BTreeMap::new();
        for (name, value) in table {
            match section.key(name.get_ref()) {
                None => self.unknown_key(section, name.get_ref(), &name.span()),
                Some(key) => {
                    let node = self.inside(key.name, |checker| checker.value(&key.kind, value.get_ref(), value.span()));
                    fields.insert(key.name, node.unwrap_or_else(|| stand_in(key, value.span())));
                }
            }
        }
        for key in section.keys {
            match &key.presence {
                _ if fields.contains_key(key.name) => {}
                Presence::Optional => {}
                Presence::Required => {
                    self.missing_key(key, &at);
                    fields.insert(key.name, stand_in(key, at.clone()));
                }
                Presence::Default(_) => {
                    fields.insert(key.name, stand_in(key, at.clone()));
                }
            }
        }
        Table { section, at, path: self.path.join("."), fields }
    }

    fn value(&mut self, kind: &'static Kind, value: &DeValue<'_>, at: Range<usize>) -> Option<Node> {
        self.fit(kind, kind, value, at)
    }

    /// The value as one of `kind`; what is told to have been expected is `stated`.
    fn fit(&mut self, kind: &'static Kind, stated: &Kind, value: &DeValue<'_>, at: Range<usize>) -> Option<Node> {
        let fitting = match (kind, value) {
            (Kind::OneOf(kinds), value) => {
                return match kinds.iter().find(|kind| kind.takes(value)) {
                    Some(kind) => self.fit(kind, stated, value, at),
                    None => self.wrong(stated, value, &at, String::new()),
                };
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Whole(least, most), DeValue::Integer(number)) => {
                let number = whole(number).filter(|number| (least..=most).contains(&number));
                number.map(Value::Whole).ok_or_else(String::new)
            }
            (Kind::Number(least, most), DeValue::Integer(_) | DeValue::Float(_)) => {
                let number = match value {
                    DeValue::Integer(number) => whole(number).map(|whole| whole as f64),
                    other => described(other).parse().ok(),
                };
                number.filter(|number| (least..=most).contains(&number)).map(Value::Number).ok_or_else(String::new)
            }
            (Kind::Text(format), DeValue::String(text)) => (format.check)(text).map(|()| Value::Text(text.to_string())),
            (Kind::Choice(words), DeValue::String(text)) if words.contains(&text.as_ref()) => {
                Ok(Value::Text(text.to_string()))
            }
            (Kind::Choice(words), DeValue::String(text)) => Err(nearest(text, words.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"))
                .unwrap_or_default()),
            (Kind::List(kind), DeValue::Array(items)) => {
                Ok(Value::List(items.iter().filter_map(|item| self.value(kind, item.get_ref(), item.span())).collect()))
            }
            (Kind::Table(section), DeValue::Table(table)) => Ok(Value::Table(self.table(section, table, at.clone()))),
            (Kind::Named(format, kind), DeValue::Table(table)) => Ok(Value::Named(self.named(format, kind, table))),
            _ => Err(String::new()),
        };
        match fitting {
            Ok(fitting) => Some(Node { at, value: fitting }),
            Err(help) => self.wrong(stated, value, &at, help),
        }
    }

    fn named(&mut self, format: &'static Format, kind: &'static Kind, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries = vec![];
        for (name, value) in table {
            if let Err(help) = (format.check)(name.get_ref()) {
                let message = format!("`{}` in {} is not {}", name.get_ref(), self.here(), format.what);
                self.report.error(WRONG_VALUE, &name.span(), message).help(help);
            }
            let node = self.inside(name.get_ref(), |checker| checker.value(kind, value.get_ref(), value.span()));
            entries.extend(node.map(|node| Entry { name: name.get_ref().to_string(), at: name.span(), node }));
        }
        entries
    }

    fn inside<T>(&mut self, name: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.to_owned());
        let result = walk(self);
        self.path.pop();
        result
    }

    fn here(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path.join(".")) }
    }

    fn unknown_key(&mut self, section: &'static Section, name: &str, at: &Range<usize>) {
        let near = nearest(name, section.keys.iter().map(|key| key.name));
        let elsewhere = || keys::FILE.all().into_iter().find(|section| section.key(name).is_some());
        let help = match (near, elsewhere()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(other)) if !other.header.is_empty() => {
                format!("`{name}` belongs in {}; known here: {}", other.header, names(section.keys))
            }
            _ => format!("known here: {}", names(section.keys)),
        };
        self.report.error(UNKNOWN_KEY, at, format!("{} has no key `{name}`", self.here())).help(help);
    }

    fn missing_key(&mut self, key: &Key, at: &Range<usize>) {
        let message = format!("{} lacks `{}`", self.here(), key.name);
        self.report.error(MISSING_KEY, at, message).help(format!("expected {}. {}", key.kind.expected(), key.doc));
    }

    fn wrong(&mut self, stated: &Kind, found: &DeValue<'_>, at: &Range<usize>, help: String) -> Option<Node> {
        let hide = self.path.last().is_some_and(|key| is_secret(key));
        let found = if hide { "of the wrong type".to_owned() } else { described(found) };
        let message = format!("{} is {found}; expected {}", self.here(), stated.expected());
        self.report.error(WRONG_VALUE, at, message).help(help);
        None
    }
}

/// The value of a key that is not written, or is written wrong: its default, if it has one.
pub(super) fn stand_in(key: &'static Key, at: Range<usize>) -> Node {
    let text = match (&key.presence, &key.kind) {
        (Presence::Default(text), _) => text,
        (_, Kind::Choice(words)) => return Node { at, value: Value::Text(words[0].to_owned()) },
        _ => return Node { at, value: Value::Nothing },
    };
    let mut report = Report::new("default", text);
    let parsed = DeValue::parse(text).expect("defaults are TOML, see the test `every_default_fits_its_key`");
    let node = Checker { report: &mut report, path: vec![] }.value(&key.kind, parsed.get_ref(), at.clone());
    debug_assert!(!report.has_errors(), "the default of `{}` does not fit it", key.name);
    Node { at, ..node.expect("defaults fit their keys, see the test `every_default_fits_its_key`") }
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The value in words, short.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 60 => format!("\"{text}\""),
        DeValue::String(_) => "a long text".to_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
