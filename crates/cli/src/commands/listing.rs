//! What every listing does: ask once, or again whenever something changed; print text or JSON.

use super::Context;
use crate::{
    failure::{Exit, Failure},
    render::{Look, Tone, footer},
};
use clap::Args;
use mainstay_web::{Envelope, Notice};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A controller that went away may be starting again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Arguments of every listing.
#[derive(Debug, Args)]
pub struct Listing {
    /// Show it again whenever something changes, until interrupted
    #[arg(long, short)]
    pub watch: bool,
}

/// Shows what `path` answers: `render` makes text of it, to which its age is added.
pub async fn listing<T: DeserializeOwned + Serialize>(
    context: &Context<'_>,
    arguments: &Listing,
    path: &str,
    empty: &str,
    render: impl Fn(&T, &Look) -> String,
) -> Result<Exit, Failure> {
    let with_footer = |answer: &Envelope<T>, look: &Look| {
        let body = render(&answer.data, look);
        let body = if body.is_empty() { format!("  {empty}\n") } else { body };
        format!("{body}\n{}\n", look.paint(Tone::Dim, &footer(answer)))
    };
    if arguments.watch {
        return live(context, path, with_footer).await;
    }
    let answer: Envelope<T> = context.client.get(path).await?;
    show(context, &answer, with_footer);
    Ok(Exit::Done)
}

/// Shows one thing; its age is said aside, so that it is not in the way of what reads stdout.
pub async fn detail<T: DeserializeOwned + Serialize>(
    context: &Context<'_>,
    path: &str,
    render: impl Fn(&T, &Look) -> String,
) -> Result<Exit, Failure> {
    let answer: Envelope<T> = context.client.get(path).await?;
    show(context, &answer, |answer, look| render(&answer.data, look));
    if !context.output.json {
        context.output.talk(&footer(&answer));
    }
    Ok(Exit::Done)
}

/// Shows those of a list that are meant.
pub async fn those<T: DeserializeOwned + Serialize>(
    context: &Context<'_>,
    path: &str,
    meant: impl Fn(&T) -> bool,
    empty: &str,
    render: impl Fn(&[T], &Look) -> String,
) -> Result<Exit, Failure> {
    let mut answer: Envelope<Vec<T>> = context.client.get(path).await?;
    answer.data.retain(meant);
    show(context, &answer, |answer, look| match answer.data.as_slice() {
        [] => format!("  {empty}\n"),
        list => render(list, look),
    });
    Ok(Exit::Done)
}

/// Shows what `path` answers again after every change, until interrupted; also when the controller goes and comes back.
pub async fn live<T: DeserializeOwned + Serialize>(
    context: &Context<'_>,
    path: &str,
    render: impl Fn(&Envelope<T>, &Look) -> String,
) -> Result<Exit, Failure> {
    let mut watching = context.client.watch().await?;
    let mut shown = String::new();
    loop {
        match watching.next().await {
            Ok(Notice::View(_)) => {}
            Ok(Notice::Event(_) | Notice::Missed(_)) => continue,
            Err(failure) => {
                context.output.talk(&format!("{failure}; waiting for it"));
                watching = loop {
                    tokio::time::sleep(RETRY_EVERY).await;
                    if let Ok(watching) = context.client.watch().await {
                        break watching;
                    }
                };
                continue;
            }
        }
        let answer: Envelope<T> = context.client.get(path).await?;
        if context.output.json {
            context.output.document_line(&answer);
            continue;
        }
        let text = render(&answer, &context.output.look(answer.now()));
        if context.output.is_terminal() {
            context.output.redraw(&text);
        } else if text != shown {
            context.output.data(&format!("{text}\n"));
        }
        shown = text;
    }
}

fn show<T: Serialize>(context: &Context<'_>, answer: &Envelope<T>, render: impl Fn(&Envelope<T>, &Look) -> String) {
    match context.output.json {
        true => context.output.document(answer),
        false => context.output.data(&render(answer, &context.output.look(answer.now()))),
    }
}
