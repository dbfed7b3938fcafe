//! Scenarios: folders that a user can read. `README.md` begins with the incident, `setup.toml` holds the world and its
//! `mainstay.toml`, `script.txt` says what happens when, `expect.txt` what must come of it.
//!
//! docs/simulator.md documents the formats.

mod expect;
mod reload;
mod script;
pub(crate) mod setup;

use crate::{
    deed::{Deed, Reload},
    leader::Elect,
    report::Report,
    run::Simulation,
};
use expect::Expectation;
use mainstay_model::{Time, config, spec::ClusterSpec};
use setup::WorldSetup;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a scenario can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file can't be read.
    #[error("{path} can't be read; a scenario is a folder with setup.toml, and mostly script.txt and expect.txt")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of script or expectations makes no sense.
    #[error("{file}:{line}: {what}")]
    Line {
        /// Which file.
        file: String,
        /// Which line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The setup is wrong.
    #[error("{file}: {what}")]
    Setup {
        /// Which file.
        file: String,
        /// What is wrong with it, with line and column.
        what: String,
    },
}

impl ScenarioError {
    fn line(file: &str, line: usize, what: String) -> ScenarioError {
        ScenarioError::Line { file: file.to_owned(), line, what }
    }
}

/// A scenario, read and understood.
pub(crate) struct Scenario {
    name: String,
    setup: WorldSetup,
    spec: Arc<ClusterSpec>,
    reloads: BTreeMap<Reload, Arc<ClusterSpec>>,
    script: Vec<(Time, Deed)>,
    expectations: Vec<Expectation>,
}

/// Runs one scenario.
///
/// # Errors
/// If its files can't be read or understood; broken expectations are in the report.
pub fn run(folder: &Path) -> Result<Report, ScenarioError> {
    Ok(Scenario::load(folder)?.run(Elect::Real))
}

/// Runs every scenario: a folder with a `setup.toml` is one, of any other folder those in it are.
///
/// # Errors
/// As [`run`], for the first scenario that can't be run.
pub fn run_all(folders: &[PathBuf]) -> Result<Vec<Report>, ScenarioError> {
    let mut found = Vec::new();
    for folder in folders {
        if folder.join("setup.toml").is_file() {
            found.push(folder.clone());
            continue;
        }
        let unreadable = |source| ScenarioError::Unreadable { path: folder.clone(), source };
        let entries = fs::read_dir(folder).map_err(unreadable)?;
        let mut inside: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|path| path.join("setup.toml").is_file());
        inside.sort();
        found.append(&mut inside);
    }
    found.iter().map(|folder| run(folder)).collect()
}

/// Reads a scenario's three texts, and says what is wrong with them.
///
/// # Errors
/// What [`run`] would say before it begins.
pub fn check(setup: &str, script: &str, expect: &str) -> Result<(), ScenarioError> {
    Scenario::from_texts("scenario", setup, script, expect).map(drop)
}

impl Scenario {
    /// Its world at the beginning, without a controller.
    #[cfg(test)]
    pub fn world(&self, seed: u64) -> crate::world::World {
        crate::world::World::new(&self.setup, Arc::clone(&self.spec), seed)
    }

    /// Reads a scenario's folder.
    pub fn load(folder: &Path) -> Result<Scenario, ScenarioError> {
        let shown = |name: &str| folder.join(name).display().to_string();
        let text = |name: &str| read(&folder.join(name));
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let optional = |name: &str| if folder.join(name).exists() { text(name) } else { Ok(String::new()) };
        let mut scenario =
            Scenario::parse(&name, &shown, &text("setup.toml")?, &optional("script.txt")?, &optional("expect.txt")?)?;
        for (_, deed) in &scenario.script {
            if let Deed::Reload(reload @ Reload::File(file)) = deed {
                let spec = cluster(&shown(file), &halves(&text(file)?).1)?;
                scenario.reloads.insert(reload.clone(), spec);
            }
        }
        Ok(scenario)
    }

    /// Reads a scenario that lies in no folder.
    pub fn from_texts(name: &str, setup: &str, script: &str, expect: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse(name, &|file: &str| file.to_owned(), setup, script, expect)
    }

    fn parse(
        name: &str,
        shown: &dyn Fn(&str) -> String,
        setup: &str,
        script: &str,
        expect: &str,
    ) -> Result<Scenario, ScenarioError> {
        let (world, rest) = halves(setup);
        let setup: WorldSetup = toml::from_str(&world)
            .map_err(|error| ScenarioError::Setup { file: shown("setup.toml"), what: error.to_string() })?;
        let spec = cluster(&shown("setup.toml"), &rest)?;
        let script = script::parse(&shown("script.txt"), script)?;
        let expectations = expect::parse(&shown("expect.txt"), expect)?;
        let mut reloads = BTreeMap::new();
        for (_, deed) in &script {
            match deed {
                Deed::Reload(Reload::Refused) => {}
                Deed::Reload(Reload::File(file)) if file != "setup.toml" => {}
                Deed::Reload(reload) if !reloads.contains_key(reload) => {
                    reloads.insert(reload.clone(), reload::changed(&shown("setup.toml"), &rest, reload)?);
                }
                _ => {}
            }
        }
        let scenario = Scenario { name: name.to_owned(), setup, spec, reloads, script, expectations };
        scenario.names_exist(&shown("setup.toml"))?;
        Ok(scenario)
    }

    /// Guests must lie on hosts that there are.
    fn names_exist(&self, file: &str) -> Result<(), ScenarioError> {
        let wrong = |what: String| Err(ScenarioError::Setup { file: file.to_owned(), what });
        for (name, vm) in &self.setup.vm {
            if !self.setup.host.contains_key(&vm.on) {
                return wrong(format!("[world.vm.{name}] is on `{}`, but there is no [world.host.{}]", vm.on, vm.on));
            }
        }
        for host in self.spec.hosts.keys() {
            if !self.setup.host.contains_key(host) {
                return wrong(format!("host `{host}` is configured, but there is no [world.host.{host}]"));
            }
        }
        Ok(())
    }

    fn begin(&self, elect: Elect) -> Simulation {
        let mut simulation =
            Simulation::new(&self.setup, self.spec.clone(), self.reloads.clone(), self.setup.seed, elect);
        for (at, deed) in &self.script {
            simulation.plan(*at, deed.clone());
        }
        simulation
    }

    /// Runs it with this kind of leader.
    pub fn run(&self, elect: Elect) -> Report {
        self.finish(self.begin(elect))
    }

    /// The same, but its report has no trace: writing that takes a twentieth of the time.
    pub fn run_untraced(&self, elect: Elect) -> Report {
        let mut simulation = self.begin(elect);
        simulation.record.traced = false;
        self.finish(simulation)
    }

    fn finish(&self, mut simulation: Simulation) -> Report {
        let end = Time(self.setup.lasts.0);
        let all_well_by = self.setup.all_well_by.map(|span| Time(span.0)).filter(|at| *at <= end);
        let judged = self.expectations.iter().enumerate();
        let judged = judged.map(|(index, wanted)| (wanted.at.unwrap_or(end).min(end), Some(index)));
        let mut moments: Vec<(Time, Option<usize>)> = judged.chain(all_well_by.map(|at| (at, None))).collect();
        moments.sort();
        let mut verdicts = BTreeMap::new();
        for (at, index) in moments {
            simulation.run_until(at);
            match index.and_then(|index| Some((index, self.expectations.get(index)?))) {
                Some((index, wanted)) => _ = verdicts.insert(index, wanted.judge(&simulation)),
                None => simulation.all_should_run(self.setup.roomy),
            }
        }
        simulation.run_until(end);
        if let Some(since) = all_well_by {
            simulation.should_have_rested(since);
        }
        Report::of(&self.name, simulation, verdicts.into_values().collect())
    }
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    fs::read_to_string(path).map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })
}

fn cluster(file: &str, text: &str) -> Result<Arc<ClusterSpec>, ScenarioError> {
    match config::load(file, text) {
        Ok(loaded) => Ok(Arc::new(loaded.spec)),
        Err(problems) => {
            let what = problems.iter().map(|problem| format!("line {}: {problem}", problem.line)).collect::<Vec<_>>();
            Err(ScenarioError::Setup { file: file.to_owned(), what: what.join("; ") })
        }
    }
}

/// Splits a setup into its `[world]` tables and the rest; both keep their line numbers.
fn halves(text: &str) -> (String, String) {
    let (mut world, mut rest) = (String::new(), String::new());
    let mut in_world = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_world = line.trim_start_matches('[').starts_with("world");
        }
        let (here, there) = if in_world { (&mut world, &mut rest) } else { (&mut rest, &mut world) };
        here.push_str(line);
        here.push('\n');
        there.push('\n');
    }
    // `[world.host.h1]` is read as `[host.h1]`.
    (world.replace("[world.", "[").replace("[world]", ""), rest)
}
