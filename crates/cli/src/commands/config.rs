//! The configuration file: checking, showing, reloading it.

use super::Context;
use crate::{
    failure::{Exit, Failure},
    render::count,
};
use clap::{Args, Subcommand};
use mainstay_daemon::{DeviceProblem, ReloadReport, check_devices, read_text};
use mainstay_model::{
    Code,
    config::{self, Loaded, Problem},
};
use miette::{GraphicalReportHandler, GraphicalTheme, Report};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the configuration is unless told otherwise.
const FILE: &str = "/etc/mainstay/mainstay.toml";

/// A fence agent does not take an option as it is written.
const FENCE_OPTION: Code = Code(1412);

/// Check, show, reload the configuration; an example, a schema for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay config example > mainstay.toml
  mainstay config check --config mainstay.toml     all errors at once, each with its line
  mainstay config show                             with every default filled in
  mainstay config show --running                   what the running controller goes by
  mainstay config schema > mainstay.schema.json
  mainstay config reload                           the running controller reads its file again")]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say everything that is wrong with the file, with line, column and what was expected
    Check(File),
    /// Print an example that explains every key
    Example,
    /// Print the JSON schema, for editors
    Schema,
    /// Print what the controller makes of the file, with every default filled in (JSON)
    Show {
        #[command(flatten)]
        file: File,
        /// What is in force in the running controller instead, its secrets hidden
        #[arg(long, conflicts_with = "config")]
        running: bool,
    },
    /// Make the running controller read its file again; a bad one changes nothing
    Reload,
}

/// Which file.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration file
    #[arg(long, short, env = "MAINSTAY_CONFIG", default_value = FILE, value_name = "FILE", hide_env_values = true)]
    pub config: PathBuf,
}

pub(super) async fn run(context: &Context<'_>, arguments: Config) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Check(file) => check(context, &file.config).await,
        Verb::Example => {
            context.output.data(config::example());
            Ok(Exit::Done)
        }
        Verb::Schema => {
            context.output.document(&config::schema());
            Ok(Exit::Done)
        }
        Verb::Show { running: true, .. } => {
            context.output.document(&context.client.get::<Value>("/v1/config").await?);
            Ok(Exit::Done)
        }
        Verb::Show { file, .. } => {
            let Loaded { spec, controller, .. } = read(context, &file.config).await?;
            context
                .output
                .document(&json!({ "version": mainstay_web::VERSION, "controller": controller, "spec": spec }));
            Ok(Exit::Done)
        }
        Verb::Reload => reload(context).await,
    }
}

/// Reads a configuration; says all that is wrong with it, or looks so.
pub(super) async fn read(context: &Context<'_>, path: &Path) -> Result<Loaded, Failure> {
    let text = text(path).await?;
    config::load(&path.display().to_string(), &text).map_err(|problems| {
        problems.iter().for_each(|problem| context.output.talk(&report(context, problem)));
        Failure::Configuration(problems.to_string())
    })
}

/// The text of a configuration.
pub(super) async fn text(path: &Path) -> Result<String, Failure> {
    let what = "can't read the configuration (`mainstay config example` prints one to begin with)";
    read_text(path).await.map_err(|source| Failure::File { what, path: path.to_owned(), source })
}

async fn check(context: &Context<'_>, path: &Path) -> Result<Exit, Failure> {
    let text = text(path).await?;
    let loaded = config::load(&path.display().to_string(), &text);
    let (mut problems, devices) = match &loaded {
        Ok(Loaded { spec, files, warnings, .. }) => {
            let unreadable = config::unreadable(files, |file| fs::File::open(file).map(drop));
            ([warnings.clone(), unreadable].concat(), check_devices(spec).await)
        }
        Err(problems) => (problems.iter().cloned().collect(), vec![]),
    };
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let all = problems.iter().map(|problem| problem.warning).chain(devices.iter().map(|problem| problem.warning));
    let (warnings, errors): (Vec<bool>, Vec<bool>) = all.partition(|warning| *warning);
    let (warnings, errors) = (warnings.len(), errors.len());
    if context.output.json {
        let problems: Vec<_> =
            problems.iter().map(|problem| json!(problem)).chain(devices.iter().map(device)).collect();
        context
            .output
            .document(&json!({ "version": mainstay_web::VERSION, "valid": errors == 0, "problems": problems }));
    } else {
        problems.iter().for_each(|problem| context.output.talk(&report(context, problem)));
        for DeviceProblem { origin, warning, text, .. } in &devices {
            let word = if *warning { "warning" } else { "error" };
            context.output.talk(&format!("{word}: {origin}: {text}\n"));
        }
        let file = path.display();
        context.output.talk(&match (errors, warnings) {
            (0, 0) => format!("{file} is right"),
            (0, _) => format!("{file} can be used, with {}", count(warnings, "warning")),
            (_, _) => format!("{file} can't be used: {}", count(errors, "error")),
        });
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::Failed })
}

/// What a fence agent says of its options, in the shape of the other problems.
fn device(problem: &DeviceProblem) -> serde_json::Value {
    let DeviceProblem { device, origin, warning, text } = problem;
    json!({
        "severity": if *warning { "warning" } else { "error" },
        "code": FENCE_OPTION.to_string(),
        "file": origin.file,
        "line": origin.line,
        "column": 1,
        "message": format!("fence device `{device}`: {text}"),
        "help": "`AGENT -o metadata` lists what its agent takes",
    })
}

async fn reload(context: &Context<'_>) -> Result<Exit, Failure> {
    let answer = context.client.post::<ReloadReport>("/v1/reload", &json!({})).await?;
    if context.output.json {
        context.output.document(&answer);
        return Ok(Exit::Done);
    }
    let report = &answer.data;
    for (what, hosts) in
        [("added", &report.hosts_added), ("removed", &report.hosts_removed), ("changed", &report.hosts_changed)]
    {
        if !hosts.is_empty() {
            context.output.talk(&format!("{what}: {}", hosts.join(", ")));
        }
    }
    report.warnings.iter().for_each(|warning| context.output.talk(&format!("warning: {warning}")));
    context.output.talk("the configuration is in force");
    Ok(Exit::Done)
}

/// A problem with the lines it speaks of.
pub(super) fn report(context: &Context<'_>, problem: &Problem) -> String {
    let theme =
        if context.output.talks_in_color() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(120).without_cause_chain();
    let mut text = String::new();
    match handler.render_report(&mut text, Report::new(problem.clone()).as_ref()) {
        Ok(()) => text,
        Err(_) => format!("{problem:?}"),
    }
}
