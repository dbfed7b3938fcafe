//! What happens, live.

use super::{Context, listing::live};
use crate::{
    failure::{Exit, Failure},
    render::{self, event},
};
use clap::Args;
use mainstay_web::Notice;

/// Watch live: the status redrawn on a terminal, else a line for each event
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay watch
  mainstay watch | tee events.log
  mainstay watch --json")]
pub struct Watch {}

pub(super) async fn run(context: &Context<'_>, _: Watch) -> Result<Exit, Failure> {
    if context.output.is_terminal() && !context.output.json {
        return live(context, "/v1/cluster", render::status).await;
    }
    let mut watching = context.client.watch().await?;
    let mut verdict = String::new();
    loop {
        let notice = watching.next().await?;
        if context.output.json {
            context.output.document_line(&notice);
            continue;
        }
        match notice {
            Notice::Event(happened) => context.output.data(&event(&happened, &context.output.look(happened.at))),
            Notice::View(view) if view.data.verdict.text != verdict => {
                verdict.clone_from(&view.data.verdict.text);
                context.output.talk(&format!("now: {verdict}"));
            }
            Notice::View(_) => {}
            Notice::Missed(count) => context.output.talk(&format!("{count} events missed: `mainstay events` has them")),
        }
    }
}
