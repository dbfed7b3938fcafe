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
//! Pure: text comes in, nothing is read or written. What only a look at files, URIs and fence agents can tell is checked by the
//! controller, which finds what to look at, and where it is written, in [`Loaded::files`] and [`Loaded::places`].

mod address;
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
mod places;
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

pub use address::filled;
pub use alarm::NotifyConfig;
pub use cluster::{ControllerConfig, TokenConfig};
pub use driver::{DriverConfig, LibvirtConfig};
pub use files::{FileUse, NamedFile};
pub use problem::{CONTRADICTION, FENCE_OPTION, OPEN_TO_OTHERS, Place, Problem, Problems, WRONG_VALUE};
pub use reference::reference;
pub use schema::schema;

use crate::spec::ClusterSpec;
use crate::{DeviceId, HostId, SiteId};
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
    /// Files the configuration names.
    pub files: Vec<NamedFile>,
    /// Where things are written that can only be checked elsewhere.
    pub places: Places,
    /// What looks wrong although it can be used.
    pub warnings: Vec<Problem>,
}

/// Where things are written that can only be checked elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// What a host's URI comes from.
    pub uris: BTreeMap<HostId, Place>,
    /// Fence devices.
    pub devices: BTreeMap<DeviceId, Place>,
    /// Options of fence devices.
    pub options: BTreeMap<(DeviceId, String), Place>,
    /// The log's filter.
    pub log: Option<Place>,
    /// The file as a whole.
    pub file: Option<Place>,
    /// A secret in the file itself, if there is one.
    pub secret: Option<Place>,
}

/// What was read of a configuration, be it right or wrong.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What could be read. Where something is wrong, a default stands in for it.
    pub loaded: Loaded,
    /// All that is wrong or looks wrong, in order of the text.
    pub problems: Vec<Problem>,
    /// False if the text is not TOML: then what was read says little.
    pub is_toml: bool,
}

/// Shorter tokens can be guessed.
pub const TOKEN_AT_LEAST: usize = 16;

/// Reads a configuration; `file_name` is only shown.
///
/// # Errors
/// All that is wrong with it, in order of the text.
pub fn load(file_name: &str, text: &str) -> Result<Loaded, Problems> {
    let Checked { loaded, problems, .. } = check(file_name, text);
    let errors: Vec<Problem> = problems.into_iter().filter(|problem| !problem.warning).collect();
    if errors.is_empty() { Ok(loaded) } else { Err(Problems::new(errors)) }
}

/// Reads a configuration as far as it can be read, so that all of its problems can be found at once.
pub fn check(file_name: &str, text: &str) -> Checked {
    let mut report = Report::new(file_name, text);
    let document = check::document(text, &mut report);

    let mut spec = ClusterSpec::default();
    let controller = cluster::read(&document, &mut spec, &mut report);
    let drivers = site::read(&document, &mut spec, &mut report);
    policy::read(&document, &mut spec, &mut report);
    rule::read(&document, &mut spec, &mut report);
    let notify = alarm::read(&document, &mut spec, &mut report);
    let (files, places) = (files::named(&document, &report), places::of(&document, &report));

    let is_toml = report.is_toml();
    report.keep_certain();
    // What contradicts itself is read all the same; after other errors the judges would judge what no file says.
    if !report.has_errors_but(problem::CONTRADICTION) {
        judge::judge(&spec, &mut report);
    }
    let problems = report.finish();
    let warnings = problems.iter().filter(|problem| problem.warning).cloned().collect();
    let loaded = Loaded { spec, controller, notify, drivers, files, places, warnings };
    Checked { loaded, problems, is_toml }
}

/// An example that loads without warnings and explains every key; what is commented out states the default.
pub fn example() -> &'static str {
    include_str!("../../../../examples/mainstay.toml")
}
