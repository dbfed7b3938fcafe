//! Alarms: what needs a person.

use super::{Change, Context, Listing, listing};
use crate::{
    completion::{codes, subjects},
    failure::{Exit, Failure},
    render,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use mainstay_model::{Alarm as AlarmModel, Command};

/// What needs a person: list, acknowledge
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  mainstay alarm list
  mainstay alarm ack MS1201 web-1      still there, no longer shouting
  mainstay alarm ack --all
  mainstay explain MS1201              what the code means, and what to do"
)]
pub struct Alarm {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All alarms, worst first
    List(Listing),
    /// Acknowledge: the alarm stays, but no longer shouts
    Ack {
        /// Its code
        #[arg(required_unless_present = "all", add = ArgValueCompleter::new(codes))]
        code: Option<String>,
        /// About what; needed if there are several of that code
        #[arg(add = ArgValueCompleter::new(subjects))]
        subject: Option<String>,
        /// All that are not acknowledged yet
        #[arg(long, conflicts_with_all = ["code", "subject"])]
        all: bool,
        #[command(flatten)]
        change: Change,
    },
}

pub(super) async fn run(context: &Context<'_>, arguments: Alarm) -> Result<Exit, Failure> {
    match arguments.verb.unwrap_or(Verb::List(arguments.listing)) {
        Verb::List(list) => {
            let render = |alarms: &Vec<AlarmModel>, look: &_| render::alarms(alarms, look);
            listing(context, &list, "/v1/alarms", "no alarms", render).await
        }
        Verb::Ack { code, subject, all, change } => {
            let alarms = context.client.get::<Vec<AlarmModel>>("/v1/alarms").await?.data;
            for alarm in choose(alarms, code.as_deref(), subject.as_deref(), all)? {
                let command = Command::Acknowledge { code: alarm.code, subject: alarm.subject, by: person() };
                change.give(context, command, None, None).await?;
            }
            Ok(Exit::Done)
        }
    }
}

/// The alarms meant; one of several is never guessed.
fn choose(
    alarms: Vec<AlarmModel>,
    code: Option<&str>,
    subject: Option<&str>,
    all: bool,
) -> Result<Vec<AlarmModel>, Failure> {
    let fits = |alarm: &AlarmModel| {
        code.is_none_or(|code| alarm.code.to_string().eq_ignore_ascii_case(code))
            && subject.is_none_or(|subject| alarm.subject.to_string() == subject)
    };
    let found: Vec<_> = alarms.into_iter().filter(|alarm| alarm.acknowledged.is_none() && fits(alarm)).collect();
    let subjects: Vec<_> = found.iter().map(|alarm| alarm.subject.to_string()).collect();
    match found.len() {
        0 => Err(Failure::Blocked(
            "there is no such alarm that is not acknowledged; `mainstay alarm list` shows all".to_owned(),
        )),
        1 => Ok(found),
        _ if all => Ok(found),
        _ => Err(Failure::Usage(format!("which one? Name its subject too: {}", subjects.join(", ")))),
    }
}

fn person() -> String {
    let name = |key| std::env::var(key).ok().filter(|name| !name.is_empty());
    name("SUDO_USER").or_else(|| name("USER")).or_else(|| name("LOGNAME")).unwrap_or_else(|| "somebody".to_owned())
}
