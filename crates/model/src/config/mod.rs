//! `mainstay.toml`: from text to [`ClusterSpec`], with every problem at once, each with its place and what was expected.
//!
//! ```text
//! text ──document──▶ checked table ──read──▶ spec ──judge──▶ Loaded, or Problems
//!          check         cluster, site,        contradictions
//!          (keys)        policy, rule, alarm
//! ```
//!
//! All keys are described once, in [`keys`]; the check, the readers, the JSON schema, the reference in
//! docs/configuration.md and the suggestions for misspelt names all use that description.
//!
//! Pure: text comes in, nothing is read or written. Files that the configuration names are listed in
//! [`Loaded::files`]; [`unreadable`] checks them with a reader it is given.

mod alarm;
mod check;
mod cluster;
mod driver;
pub mod edit;
mod files;
mod format;
mod judge;
mod key;
mod keys;
mod names;
mod nearest;
mod policy;
mod problem;
mod reference;
mod rule;
mod schema;
mod secret;
mod site;
mod table;
#[cfg(test)]
mod tests;

pub use alarm::NotifyConfig;
pub use cluster::ControllerConfig;
pub use driver::{DriverConfig, LibvirtConfig};
pub use files::{NamedFile, unreadable};
pub use problem::{Problem, Problems};
pub use reference::reference;
pub use schema::schema;
pub use secret::is_secret;

use crate::SiteId;
use crate::spec::ClusterSpec;
use problem::Report;
use std::collections::BTreeMap;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What should be.
    pub spec: ClusterSpec,
    /// How the controller process runs.
    pub controller: ControllerConfig,
    /// Who is told of alarms.
    pub notify: NotifyConfig,
    /// How each site's hosts are reached.
    pub drivers: BTreeMap<SiteId, DriverConfig>,
    /// Files the configuration names, for [`unreadable`].
    pub files: Vec<NamedFile>,
    /// What looks wrong although it can be used.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration; `file_name` is only shown.
///
/// # Errors
/// All that is wrong with it, in order of the text.
pub fn load(file_name: &str, text: &str) -> Result<Loaded, Problems> {
    let mut report = Report::new(file_name, text);
    let document = check::document(text, &mut report);

    let mut spec = ClusterSpec::default();
    let controller = cluster::read(&document, &mut spec, &mut report);
    let drivers = site::read(&document, &mut spec, &mut report);
    policy::read(&document, &mut spec, &mut report);
    rule::read(&document, &mut spec, &mut report);
    let notify = alarm::read(&document, &mut spec, &mut report);
    let files = files::named(&document, &report);

    report.keep_certain();
    if !report.has_errors() {
        judge::judge(&spec, &mut report);
    }
    let warnings = report.finish()?;
    Ok(Loaded { spec, controller, notify, drivers, files, warnings })
}

/// An example that loads without warnings and explains every key; what is commented out states the default.
pub fn example() -> &'static str {
    include_str!("../../../../examples/mainstay.toml")
}
