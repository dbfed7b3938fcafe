//! Getting let in: none, SASL or polkit, as the server lists them and the URI asks.

mod sasl;

use mainstay_model::Secret;
use tokio::time::Instant;

use crate::{
    connection::Connection,
    error::{Error, Result},
    procedures::Procedure,
    uri::{Auth, Uri},
};

/// `remote_auth_type`.
const NONE: i32 = 0;
const SASL: i32 = 1;
const POLKIT: i32 = 2;

/// User and password for SASL.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user, as in libvirtd's password database.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Authenticates on a fresh connection. `deadline` bounds all of it.
pub(crate) async fn authenticate(
    connection: &Connection,
    uri: &Uri,
    credentials: Option<&Credentials>,
    deadline: Instant,
) -> Result<()> {
    let refused = |why: String| Error::Auth { target: uri.target(), why };
    let left = || deadline.saturating_duration_since(Instant::now());
    let (offered,): (Vec<i32>,) = connection.call(Procedure::AuthList, &(), left()).await?;
    let (wanted, mechanism) = match &uri.auth {
        Auth::ServersChoice => (offered.first().copied().unwrap_or(NONE), None),
        Auth::Sasl { mechanism } => (SASL, mechanism.as_deref()),
        Auth::Polkit => (POLKIT, None),
    };
    if wanted != NONE && !offered.contains(&wanted) {
        return Err(refused(format!("the URI asks for {}, the server offers {}", name(wanted), names(&offered))));
    }
    match wanted {
        NONE => Ok(()),
        SASL => sasl::authenticate(connection, uri, credentials, mechanism, deadline).await,
        POLKIT => {
            let (_complete,): (i32,) = connection.call(Procedure::AuthPolkit, &(), left()).await?;
            Ok(())
        }
        _ => Err(refused(format!("the server wants {}, which this client does not speak", names(&offered)))),
    }
}

fn name(kind: i32) -> String {
    match kind {
        NONE => "none".to_owned(),
        SASL => "sasl".to_owned(),
        POLKIT => "polkit".to_owned(),
        other => format!("authentication type {other}"),
    }
}

fn names(kinds: &[i32]) -> String {
    kinds.iter().copied().map(name).collect::<Vec<_>>().join(", ")
}
