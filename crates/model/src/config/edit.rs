//! Adds and removes hosts in the user's own file: comments, order and layout stay as they are.

use super::nearest::suggest;
use super::{Loaded, Problems, load};
use thiserror::Error;
use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

/// A host to be added.
#[derive(Clone, Debug, Default)]
pub struct NewHost {
    /// Its name.
    pub name: String,
    /// The site it belongs to.
    pub site: String,
    /// Its address, if not its name.
    pub address: Option<String>,
    /// Its URI, if not the site's.
    pub uri: Option<String>,
    /// True for a spare.
    pub spare: bool,
    /// Fence devices, one level each.
    pub fence: Vec<String>,
}

/// Why a file was not changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// The file is wrong already.
    #[error("the configuration has errors already; mend them first (`mainstay config check`)")]
    Broken(#[source] Problems),
    /// The site does not exist.
    #[error("there is no site `{name}`; {help}")]
    NoSuchSite {
        /// As asked for.
        name: String,
        /// What exists.
        help: String,
    },
    /// The host does not exist.
    #[error("there is no host `{name}`; {help}")]
    NoSuchHost {
        /// As asked for.
        name: String,
        /// What exists.
        help: String,
    },
    /// The host exists already.
    #[error("host `{name}` exists already, in site `{site}`")]
    Exists {
        /// As asked for.
        name: String,
        /// Where it is.
        site: String,
    },
    /// The hosts are written in a way that is not understood here.
    #[error("host `{0}` is not found where it should be written, `[site.NAME.host.{0}]`; edit the file by hand")]
    Layout(String),
    /// The file would be wrong afterwards; its lines are those after the change.
    #[error("the configuration would be wrong after that; mend the places that speak of the host first")]
    WouldBreak(#[source] Problems),
}

/// The text with one more host.
///
/// # Errors
/// If the file is wrong, the site unknown, the host there already, or the result would be wrong.
pub fn add_host(file_name: &str, text: &str, host: &NewHost) -> Result<String, EditError> {
    let loaded = load(file_name, text).map_err(EditError::Broken)?;
    if !loaded.spec.sites.contains_key(host.site.as_str()) {
        let help = suggest(&host.site, loaded.spec.sites.keys().map(|site| site.as_str()), "no sites are configured");
        return Err(EditError::NoSuchSite { name: host.site.clone(), help });
    }
    if let Some(there) = loaded.spec.hosts.get(host.name.as_str()) {
        return Err(EditError::Exists { name: host.name.clone(), site: there.site.to_string() });
    }
    let mut document = parse(text);
    let hosts = hosts_of(&mut document, &host.site).ok_or_else(|| EditError::Layout(host.name.clone()))?;
    let mut table = host_table(host);
    match hosts {
        Item::Table(hosts) if !hosts.is_dotted() => {
            table.decor_mut().set_prefix("\n");
            table.set_position(hosts.iter().filter_map(|(_, host)| last_position(host)).max());
            hosts.insert(&host.name, Item::Table(table));
        }
        inline => inline[&host.name] = value(table.into_inline_table()),
    }
    checked(file_name, text, &document, loaded.spec.hosts.len() + 1)
}

/// The text without the host: its table, and its plugs at fence devices.
///
/// # Errors
/// If the file is wrong, the host unknown, or something else still speaks of it.
pub fn remove_host(file_name: &str, text: &str, name: &str) -> Result<String, EditError> {
    let Loaded { spec, .. } = load(file_name, text).map_err(EditError::Broken)?;
    let Some(host) = spec.hosts.get(name) else {
        let help = suggest(name, spec.hosts.keys().map(|host| host.as_str()), "no hosts are configured");
        return Err(EditError::NoSuchHost { name: name.to_owned(), help });
    };
    let mut document = parse(text);
    let hosts = hosts_of(&mut document, host.site.as_str()).and_then(Item::as_table_like_mut);
    let removed = hosts.and_then(|hosts| hosts.remove(name)).ok_or_else(|| EditError::Layout(name.to_owned()))?;
    if let Item::Table(table) = &removed {
        keep_comments_above(table, &mut document);
    }
    for device in spec.fence_devices.keys() {
        let device = document.get_mut("fence").and_then(|fence| fence.get_mut(device.as_str()));
        if let Some(plugs) = device.and_then(|device| device.get_mut("plug")).and_then(Item::as_table_like_mut) {
            plugs.remove(name);
        }
    }
    checked(file_name, text, &document, spec.hosts.len() - 1)
}

fn parse(text: &str) -> DocumentMut {
    text.parse().unwrap_or_default() // it was loaded before: what toml reads, toml_edit reads
}

fn hosts_of<'a>(document: &'a mut DocumentMut, site: &str) -> Option<&'a mut Item> {
    document.get_mut("site")?.get_mut(site)?.get_mut("host")
}

fn host_table(host: &NewHost) -> Table {
    let mut table = Table::new();
    for (key, text) in [("address", &host.address), ("uri", &host.uri)] {
        if let Some(text) = text {
            table[key] = value(text);
        }
    }
    if host.spare {
        table["spare"] = value(true);
    }
    if !host.fence.is_empty() {
        let level = |device: &String| Value::Array(Array::from_iter([device.as_str()]));
        table["fence"] = value(host.fence.iter().map(level).collect::<Array>());
    }
    table
}

/// Comments above a removed table that an empty line separates from it are not about it: they go to the next table.
fn keep_comments_above(removed: &Table, document: &mut DocumentMut) {
    let above = removed.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let Some((kept, _)) = above.rsplit_once("\n\n") else { return };
    let kept = kept.strip_prefix('\n').unwrap_or(kept);
    if kept.trim().is_empty() {
        return;
    }
    let mut later = vec![];
    tables_after(removed.position().unwrap_or_default(), document.as_table_mut(), &mut later);
    match later.into_iter().min_by_key(|table| table.position()) {
        Some(next) => {
            let own = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            let both = format!("\n{kept}\n{own}");
            next.decor_mut().set_prefix(both);
        }
        None => {
            let own = document.trailing().as_str().unwrap_or_default();
            let both = format!("\n{kept}\n{own}");
            document.set_trailing(both);
        }
    }
}

/// All tables written after a position.
fn tables_after<'a>(position: isize, table: &'a mut Table, found: &mut Vec<&'a mut Table>) {
    // Only the nearest is wanted, and subtables as a rule stand after their table.
    if table.position().is_some_and(|own| own > position) && !table.is_implicit() {
        found.push(table);
        return;
    }
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(table) => tables_after(position, table, found),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| tables_after(position, table, found)),
            _ => {}
        }
    }
}

/// Where the last of a host's tables stands.
fn last_position(host: &Item) -> Option<isize> {
    let table = host.as_table()?;
    table.iter().filter_map(|(_, below)| last_position(below)).chain(table.position()).max()
}

fn checked(file_name: &str, before: &str, document: &DocumentMut, hosts: usize) -> Result<String, EditError> {
    let mut text = document.to_string();
    if before.contains("\r\n") {
        text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    let loaded = load(file_name, &text).map_err(EditError::WouldBreak)?;
    debug_assert_eq!(loaded.spec.hosts.len(), hosts, "{text}");
    Ok(text)
}
