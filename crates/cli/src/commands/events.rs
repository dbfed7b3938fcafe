//! What happened, event by event.

use super::{Context, detail};
use crate::{
    client::segment,
    completion::subjects,
    failure::{Exit, Failure},
    output::now,
    render,
};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use mainstay_model::{Event, Span};
use mainstay_web::Notice;

/// What happened, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay events                      the newest hundred
  mainstay events web-1 --since 1h     what happened to web-1 within the last hour
  mainstay events --severity red       only what was bad
  mainstay events --watch              those, and each one as it happens")]
pub struct Events {
    /// Only about this host or VM
    #[arg(add = ArgValueCompleter::new(subjects))]
    subject: Option<String>,
    /// Not older than this
    #[arg(long, value_name = "SPAN")]
    since: Option<Span>,
    /// At least this bad
    #[arg(long)]
    severity: Option<Severity>,
    /// The newest so many
    #[arg(long, short = 'n', default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on with each event as it happens
    #[arg(long, short)]
    watch: bool,
}

/// How bad, as written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Severity {
    Green,
    Yellow,
    Red,
}

impl From<Severity> for mainstay_model::Severity {
    fn from(severity: Severity) -> mainstay_model::Severity {
        match severity {
            Severity::Green => mainstay_model::Severity::Green,
            Severity::Yellow => mainstay_model::Severity::Yellow,
            Severity::Red => mainstay_model::Severity::Red,
        }
    }
}

pub(super) async fn run(context: &Context<'_>, arguments: Events) -> Result<Exit, Failure> {
    let severity = arguments.severity.map(mainstay_model::Severity::from);
    let mut path = format!("/v1/events?limit={}", arguments.limit);
    if let Some(subject) = &arguments.subject {
        path.push_str(&format!("&subject={}", segment(subject)));
    }
    if let Some(span) = arguments.since {
        path.push_str(&format!("&since={}", (now() - span).0));
    }
    if let Some(severity) = severity {
        path.push_str(&format!("&severity={severity}"));
    }
    // The stream is opened first, so that nothing falls between it and the history.
    let watching = if arguments.watch { Some(context.client.watch().await?) } else { None };
    detail(context, &path, |events: &Vec<Event>, look| render::events(events, look)).await?;
    let Some(mut watching) = watching else { return Ok(Exit::Done) };
    loop {
        let Notice::Event(event) = watching.next().await? else { continue };
        let about =
            |name: &String| event.subject.to_string() == name.trim_start_matches("host:").trim_start_matches("vm:");
        if arguments.subject.as_ref().is_some_and(|name| !about(name))
            || severity.is_some_and(|least| event.severity < least)
        {
            continue;
        }
        match context.output.json {
            true => context.output.document_line(&event),
            false => context.output.data(&render::event(&event, &context.output.look(event.at))),
        }
    }
}
