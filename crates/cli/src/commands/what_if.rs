//! What would happen: the plan for a failure, a maintenance or a command, from the live state, touching nothing.

use super::Context;
use crate::failure::{Exit, Failure};
use mainstay_web::WhatIf;

/// Asks the controller what it would do, and prints it.
pub(super) async fn plan(context: &Context<'_>, question: &WhatIf) -> Result<Exit, Failure> {
    let answer = context.client.post::<mainstay_web::Forecast>("/v1/what-if", question).await?;
    match context.output.json {
        true => context.output.document(&answer),
        false => context.output.data(&format!("{}\n", answer.data.lines.join("\n"))),
    }
    Ok(Exit::Done)
}
