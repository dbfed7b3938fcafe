//! Hosts coming and going: the user's own file is edited, comments and layout kept, and the controller reads it again.

use super::{Context, config::text};
use crate::{
    failure::{Exit, Failure},
    render::Tone,
};
use mainstay_daemon::ReloadReport;
use mainstay_model::config::edit::{EditError, NewHost, add_host, remove_host};
use serde_json::json;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// What is to be done with the file.
pub(super) enum Edit {
    /// One more host.
    Add(NewHost),
    /// One host less.
    Remove(String),
}

/// Edits the file and lets the controller, if one runs, read it again.
pub(super) async fn edit(context: &Context<'_>, path: &Path, edit: Edit, dry_run: bool) -> Result<Exit, Failure> {
    let before = text(path).await?;
    let name = path.display().to_string();
    let after = match &edit {
        Edit::Add(host) => add_host(&name, &before, host),
        Edit::Remove(host) => remove_host(&name, &before, host),
    };
    let after = after.map_err(|error| refused(context, error))?;
    if dry_run {
        context.output.data(&difference(context, &before, &after));
        return Ok(Exit::Done);
    }
    if let Edit::Remove(host) = &edit {
        context.confirm(&format!("Remove {host} from {name}? Its VMs are no longer kept available there."))?;
    }
    replace(path, &after).map_err(|source| Failure::File { what: "can't write", path: path.to_owned(), source })?;
    context.output.talk(&format!("{name} is changed"));
    match context.client.post::<ReloadReport>("/v1/reload", &json!({})).await {
        Ok(_) => context.output.talk("the controller has read it"),
        Err(Failure::NoController { .. }) => context.output.talk("no controller runs; the next one will read it"),
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Done)
}

fn refused(context: &Context<'_>, error: EditError) -> Failure {
    if let EditError::Broken(problems) | EditError::WouldBreak(problems) = &error {
        problems.iter().for_each(|problem| context.output.talk(&super::config::report(context, problem)));
    }
    Failure::Configuration(error.to_string())
}

/// Written beside and moved there, so that nobody reads half a file; with the permissions of the old one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = fs::File::create(&beside)?;
    file.set_permissions(fs::metadata(&path)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)
}

/// Lines that go and lines that come: an edit is one stretch, so what begins and ends alike can be left out.
fn difference(context: &Context<'_>, before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let at_end = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let look = context.output.look(crate::output::now());
    let gone = old[same..old.len() - at_end].iter().map(|line| look.paint(Tone::Bad, &format!("- {line}")));
    let come = new[same..new.len() - at_end].iter().map(|line| look.paint(Tone::Good, &format!("+ {line}")));
    gone.chain(come).map(|line| format!("{line}\n")).collect()
}
