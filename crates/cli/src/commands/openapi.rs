//! The API's description, as checked in at docs/openapi.json.

use super::Context;
use crate::failure::{Exit, Failure};
use clap::Args;

/// Print the OpenAPI document of the HTTP API
#[derive(Debug, Args)]
pub struct Openapi {}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    context.output.document(&mainstay_web::openapi());
    Ok(Exit::Done)
}
