//! Why things are as they are.

use super::{Context, detail};
use crate::{
    client::segment,
    completion::explainable,
    failure::{Exit, Failure},
    pages,
};
use clap::Args;
use clap_complete::ArgValueCompleter;
use mainstay_web::Explanation;

/// Why something is as it is, or what a code means
#[derive(Debug, Args)]
#[command(after_help = "\
Says what is believed on which evidence, what is done or waited for and why, which line of the configuration says so,
and what would change it.

Examples:
  mainstay explain web-1       a VM
  mainstay explain h1          a host
  mainstay explain MS1104      a code: meaning, likely causes, what to do (needs no controller)")]
pub struct Explain {
    /// A VM, a host, or a code such as MS1104
    #[arg(add = ArgValueCompleter::new(explainable))]
    subject: String,
}

pub(super) async fn run(context: &Context<'_>, arguments: Explain) -> Result<Exit, Failure> {
    let subject = &arguments.subject;
    if let Some(page) = pages::page(subject) {
        match context.output.json {
            true => context.output.document(&Explanation { subject: subject.to_uppercase(), text: page.to_owned() }),
            false => context.output.data(page),
        }
        return Ok(Exit::Done);
    }
    if pages::looks_like_a_code(subject) {
        return Err(Failure::Usage(format!(
            "there is no code {subject}; known: {}",
            pages::codes().collect::<Vec<_>>().join(", ")
        )));
    }
    detail(context, &format!("/v1/explain/{}", segment(subject)), |explanation: &Explanation, _| {
        format!("{}\n", explanation.text.trim_end())
    })
    .await
}
