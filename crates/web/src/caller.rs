//! Who calls, and what they may do.

use crate::Problem;
use axum::http::{HeaderMap, header};
use mainstay_model::{Actor, Command, Role, Secret};
use std::{fs, sync::Arc};

use crate::ListenError;
use mainstay_model::config::TOKEN_AT_LEAST;

/// A caller of the API; every request carries one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// On record with each command.
    pub name: Actor,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// A user of this machine whom the socket's file mode lets in.
    pub(crate) fn local(user: u32) -> Caller {
        Caller { name: Actor::new(&user_name(user)), role: Role::Administer }
    }

    /// Refuses what the caller may not do.
    pub(crate) fn must(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role { Ok(()) } else { Err(Problem::not_for_role(self, role)) }
    }
}

/// What a command needs. A caller that cuts power, or vouches that a host is off, can make VMs run twice.
pub(crate) fn needed(command: &Command) -> Role {
    match command {
        Command::ConfirmOff { .. }
        | Command::FenceHost { .. }
        | Command::CycleHost { .. }
        | Command::AcceptMemory { .. } => Role::Administer,
        _ => Role::Operate,
    }
}

/// The user's name by this machine's list; users of a directory service are known by number.
fn user_name(user: u32) -> String {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {user}"))
}

/// What requests over TCP must carry, and whose it is.
#[derive(Clone, Debug)]
pub struct Token {
    secret: Arc<Secret>,
    caller: Caller,
}

impl Token {
    /// The token of a name, if it is long enough.
    ///
    /// # Errors
    /// [`ListenError::ShortToken`].
    pub fn new(name: &str, role: Role, text: &str) -> Result<Token, ListenError> {
        let text = text.trim();
        let caller = Caller { name: Actor::new(name), role };
        (text.len() >= TOKEN_AT_LEAST)
            .then(|| Token { secret: Arc::new(Secret::new(text)), caller })
            .ok_or_else(|| ListenError::ShortToken { name: name.to_owned() })
    }
}

/// Who sent a request, by its token.
pub(crate) fn by_token(tokens: &[Token], headers: &HeaderMap) -> Result<Caller, Problem> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // All are compared, so that the time taken does not tell which is near.
    let found = tokens.iter().fold(None, |found, token| if token.secret.is(given) { Some(token) } else { found });
    found.map(|token| token.caller.clone()).ok_or_else(Problem::no_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_else_by_number() {
        assert_eq!(Caller::local(0).name, Actor::new("root"));
        assert_eq!(Caller::local(4_000_000_000).name, Actor::new("user 4000000000"));
    }

    #[test]
    fn a_role_may_what_those_below_it_may() {
        let caller = |role| Caller { name: Actor::new("ci"), role };
        assert!(caller(Role::Administer).must(Role::Operate).is_ok());
        let refused = caller(Role::Read).must(Role::Operate).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (403, "MS1506"));
        assert_eq!(needed(&Command::ConfirmOff { host: "h1".into() }), Role::Administer);
        assert_eq!(needed(&Command::Rebalance), Role::Operate);
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new("ci", Role::Read, "0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
    }
}
