//! SASL: SCRAM-SHA-256 where the server has it, else PLAIN, and that only where nobody can read along.

use rsasl::prelude::{Mechname, SASLClient, SASLConfig, State};
use tokio::time::Instant;

use super::Credentials;
use crate::{
    connection::Connection,
    error::{Error, ErrorCode, Result},
    procedures::Procedure,
    uri::Uri,
    xdr::Chars,
};

/// Best first.
const MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "PLAIN"];

pub(super) async fn authenticate(
    connection: &Connection,
    uri: &Uri,
    credentials: Option<&Credentials>,
    wanted: Option<&str>,
    deadline: Instant,
) -> Result<()> {
    let refused = |why: String| Error::Auth { target: uri.target(), why };
    let left = || deadline.saturating_duration_since(Instant::now());
    let credentials = credentials.ok_or_else(|| refused("it wants SASL: give user and password".to_owned()))?;

    let offered = match connection.call(Procedure::AuthSaslInit, &(), left()).await {
        Ok((offered,)) => offered,
        // libvirtd has no mechanism to offer, and says no more than this.
        Err(error) if error.is(ErrorCode::AUTH_FAILED) => String::new(),
        Err(error) => return Err(error),
    };
    let mechanism = choose(&offered, wanted, uri.is_private()).map_err(refused)?;
    let broken = |error: &dyn std::fmt::Display| refused(format!("{mechanism}: {error}"));
    let user = uri.user.clone().unwrap_or_else(|| credentials.user.clone());
    let config = SASLConfig::with_credentials(None, user, credentials.password.expose().clone())
        .map_err(|error| broken(&error))?;
    let mechanism_name = Mechname::parse(mechanism.as_bytes()).map_err(|error| broken(&error))?;
    let mut session = SASLClient::new(config).start_suggested(&[mechanism_name]).map_err(|error| broken(&error))?;

    let (mut said, mut state) = (Vec::new(), State::Running);
    if session.are_we_first() {
        state = session.step(None, &mut said).map_err(|error| broken(&error))?;
    }
    let mut procedure = Procedure::AuthSaslStart;
    loop {
        // "Nothing" and "an empty answer" are two things in SASL: the first is told by `nil`.
        let nil = i32::from(said.is_empty());
        let (complete, _nil, heard): (i32, i32, Chars) = match procedure {
            Procedure::AuthSaslStart => {
                connection.call(procedure, &(mechanism, nil, Chars(std::mem::take(&mut said))), left()).await
            }
            _ => connection.call(procedure, &(nil, Chars(std::mem::take(&mut said))), left()).await,
        }
        .map_err(|error| match error {
            // libvirtd tells nothing but "authentication failed", and closes.
            Error::Libvirt { message, .. } => broken(&message),
            other => other,
        })?;
        procedure = Procedure::AuthSaslStep;
        // Even when the server is content its last words are looked at: in SCRAM they prove that it knows us.
        if state.is_running() {
            state = session.step(Some(&heard.0), &mut said).map_err(|error| broken(&error))?;
        }
        if complete != 0 {
            return match state.is_running() {
                true => Err(broken(&"the server ended before proving that it knows the password")),
                false => Ok(()),
            };
        }
    }
}

fn choose(offered: &str, wanted: Option<&str>, private: bool) -> Result<&'static str, String> {
    let is_offered = |ours: &&str| offered.split([',', ' ']).any(|theirs| theirs == *ours);
    let is_wanted = |ours: &&str| wanted.is_none_or(|wanted| *ours == wanted);
    match MECHANISMS.into_iter().filter(is_wanted).find(is_offered) {
        Some("PLAIN") if !private => {
            Err("only PLAIN is left, and over plain TCP it would show the password to anyone: use tls or ssh"
                .to_owned())
        }
        Some(mechanism) => Ok(mechanism),
        None => {
            let asked = wanted.map_or(String::new(), |wanted| format!(", and the URI asks for {wanted}"));
            let hint = if private { "" } else { "; libvirtd offers these over tls, ssh and unix only" };
            let offered = if offered.is_empty() { "no SASL mechanism" } else { offered };
            Err(format!("it offers {offered}; this client speaks {}{asked}{hint}", MECHANISMS.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_mechanism_wins_and_plain_never_crosses_plain_tcp() {
        assert_eq!(choose("PLAIN,SCRAM-SHA-256", None, true), Ok("SCRAM-SHA-256"));
        assert_eq!(choose("PLAIN SCRAM-SHA-1", None, true), Ok("PLAIN"));
        assert_eq!(choose("SCRAM-SHA-256,PLAIN", Some("PLAIN"), true), Ok("PLAIN"));
        assert!(choose("PLAIN", None, false).is_err_and(|why| why.contains("show the password")));
        assert!(choose("GSSAPI", None, true).is_err_and(|why| why.contains("GSSAPI")));
        assert!(choose("PLAIN", Some("SCRAM-SHA-256"), true).is_err_and(|why| why.contains("asks for SCRAM-SHA-256")));
    }
}
