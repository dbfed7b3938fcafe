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
    /// The host's table is written in a way that is not changed without loss.
    #[error("host `{0}` is not written as a table of its own, `[site.NAME.host.{0}]`; edit the file by hand")]
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
    let last = hosts.iter().filter_map(|(_, host)| host.as_table()?.position()).max();
    let mut table = host_table(host);
    table.set_position(last);
    hosts.insert(&host.name, Item::Table(table));
    checked(file_name, document)
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
    let hosts = hosts_of(&mut document, host.site.as_str());
    hosts.and_then(|hosts| hosts.remove(name)).ok_or_else(|| EditError::Layout(name.to_owned()))?;
    for device in spec.fence_devices.keys() {
        let device = document.get_mut("fence").and_then(|fence| fence.get_mut(device.as_str()));
        if let Some(plugs) = device.and_then(|device| device.get_mut("plug")).and_then(Item::as_table_like_mut) {
            plugs.remove(name);
        }
    }
    checked(file_name, document)
}

fn parse(text: &str) -> DocumentMut {
    text.parse().unwrap_or_default() // it was loaded before: what toml reads, toml_edit reads
}

fn hosts_of<'a>(document: &'a mut DocumentMut, site: &str) -> Option<&'a mut Table> {
    document.get_mut("site")?.get_mut(site)?.get_mut("host")?.as_table_mut()
}

fn host_table(host: &NewHost) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
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

fn checked(file_name: &str, document: DocumentMut) -> Result<String, EditError> {
    let text = document.to_string();
    load(file_name, &text).map_err(EditError::WouldBreak)?;
    Ok(text)
}
