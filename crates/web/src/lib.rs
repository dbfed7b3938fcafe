//! The local HTTP API: what the command line and other programs use, and nothing else has.
//!
//! ```text
//!   mainstay status ──▶ UNIX socket ─┐
//!   a program, token ──▶ TCP ────────┴▶ router ──▶ Controller (the daemon's Handle) ──▶ the loop
//! ```
//!
//! Every answer is JSON: an [`Envelope`] that says how old its data is and who leads, or a [`Problem`] that says what is
//! wrong and what to do. The document `docs/openapi.json` is made from this code ([`openapi`]). It decides nothing and
//! remembers nothing; a request that cannot be answered in time fails with a reason.

mod caller;
mod contract;
mod controller;
mod listen;
mod openapi;
mod problem;
mod routes;
mod tls;

pub use caller::{Caller, Token};
pub use contract::{Envelope, EventFilter, Explanation, Leader, Notice, Problem, VERSION};
pub use controller::Controller;
pub use listen::{ListenError, Listeners};
pub use openapi::openapi;
pub use routes::router;
pub use tls::{Tls, TlsClient, TlsError, no_tls};
