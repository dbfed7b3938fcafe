//! The reference of all keys as a Markdown page, from the description of the keys.

use super::key::{Kind, Presence, Section};
use super::keys;

const OPENING: &str = "\
# Configuration

<!-- Generated from crates/model/src/config/keys; `UPDATE=1 cargo test -p mainstay-model` writes it anew. -->

";

const CLOSING: &str = "\
## Whom a rule speaks of

`match` takes name patterns: `*` stands for any text, `?` for one character. `tags` takes tags: a VM has those of its own
definition and those that its `[[vm]]` rule sets. A rule with several patterns and tags speaks of every VM that one of them
fits. Of `[[vm]]`, `[[recovery]]` and `[[protection]]`, the first rule that fits a VM counts, so special rules stand before
general ones. Of `[[together]]`, `[[apart]]` and `[[order]]`, all count.

## Checking

`mainstay config check` reports everything that is wrong at once: unknown keys, wrong values, names that stand for nothing,
contradictions, constraints that no placement can meet, orders in which VMs wait for themselves. Each message has its place,
what was expected, and the nearest valid name. Warnings tell of what has no effect or is unprotected. The codes (`MS1402` to
`MS1422`) are explained by `mainstay explain CODE`.

A changed file is taken over without restart. If it is wrong, the old configuration stays in force, and an alarm says so.
";

/// The reference of all keys, as docs/configuration.md has it.
pub fn reference() -> String {
    let mut page = OPENING.to_owned();
    page +=
        &format!("{}\n\nA complete example: [examples/mainstay.toml](../examples/mainstay.toml).\n\n", keys::FILE.doc);
    for section in keys::FILE.all() {
        if !section.header.is_empty() {
            page += &described(section);
        }
    }
    page + CLOSING
}

fn described(section: &Section) -> String {
    let inline = section.header.contains('{');
    let mut text = format!("{} `{}`\n\n{}\n\n", if inline { "###" } else { "##" }, section.header, section.doc);
    text += "| key | value | default | meaning |\n|---|---|---|---|\n";
    for key in section.keys.iter().filter(|key| key.kind.header().is_none()) {
        let default = match key.presence {
            Presence::Required => "*required*".to_owned(),
            Presence::Optional | Presence::Default("{}") => String::new(),
            Presence::Default(text) => format!("`{text}`"),
        };
        let cells = [format!("`{}`", key.name), value(&key.kind), default, key.doc.to_owned()];
        text += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text + "\n"
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Table(_) => "table, see below".to_owned(),
        Kind::List(kind) => format!("list of: {}", value(kind)),
        Kind::OneOf(kinds) => kinds.iter().map(value).collect::<Vec<_>>().join("; or "),
        Kind::Named(_, kind) => format!("table, each value: {}", value(kind)),
        Kind::Text(format) => format.what.split(" such as").next().unwrap_or_default().trim_end_matches(',').to_owned(),
        other => other.expected(),
    }
}
