//! Problems as answers: one constructor for each thing that can be wrong with a request.

use crate::{Caller, Problem};
use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use mainstay_daemon::{NoAnswer, ReloadRefused};
use mainstay_model::{Code, Role};

/// The controller gives no answer.
const NO_ANSWER: Code = Code(1501);
/// What is named is not there.
const NO_SUCH_THING: Code = Code(1502);
/// The request cannot be read.
const BAD_REQUEST: Code = Code(1503);
/// The token is missing or wrong.
const NO_TOKEN: Code = Code(1504);
/// The caller may not do that.
const NOT_FOR_ROLE: Code = Code(1506);
/// The command would do harm or nothing sensible.
const COMMAND_REFUSED: Code = Code(1505);

impl Problem {
    fn new(status: StatusCode, code: Code, title: &str, detail: impl Into<String>, help: impl Into<String>) -> Problem {
        let (title, detail, help) = (title.to_owned(), detail.into(), help.into());
        Problem { title, status: status.as_u16(), detail, code: code.to_string(), help }
    }

    pub(crate) fn no_such(kind: &str, name: &str, known: impl IntoIterator<Item = String>) -> Problem {
        let mut known: Vec<_> = known.into_iter().collect();
        known.truncate(20);
        let help = match known.is_empty() {
            true => format!("no {kind} is known yet; `mainstay status` shows what is"),
            false => format!("known: {}", known.join(", ")),
        };
        Problem::new(StatusCode::NOT_FOUND, NO_SUCH_THING, "not there", format!("there is no {kind} {name}"), help)
    }

    pub(crate) fn no_such_path(path: &str) -> Problem {
        let help = "GET /v1/openapi.json lists every path";
        Problem::new(StatusCode::NOT_FOUND, NO_SUCH_THING, "not there", format!("the API has no path {path}"), help)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        let help = "GET /v1/openapi.json says what the request must look like";
        Problem::new(StatusCode::BAD_REQUEST, BAD_REQUEST, "request not understood", detail, help)
    }

    pub(crate) fn no_token() -> Problem {
        let help = "send `Authorization: Bearer TOKEN` with a token of the controller's configuration";
        let detail = "over TCP every request needs a token";
        Problem::new(StatusCode::UNAUTHORIZED, NO_TOKEN, "not allowed", detail, help)
    }

    pub(crate) fn not_for_role(caller: &Caller, needed: Role) -> Problem {
        let detail = format!("`{}` may {} only; this needs a token with the role `{needed}`", caller.name, caller.role);
        let help = "roles stand in the controller's configuration, as `[controller.token.NAME]`";
        Problem::new(StatusCode::FORBIDDEN, NOT_FOR_ROLE, "not allowed", detail, help)
    }

    pub(crate) fn refused(why: impl Into<String>) -> Problem {
        let help = "`mainstay status` shows how things are; `mainstay explain NAME` says why";
        Problem::new(StatusCode::CONFLICT, COMMAND_REFUSED, "refused", why, help)
    }
}

impl From<NoAnswer> for Problem {
    fn from(reason: NoAnswer) -> Problem {
        let help = "look at the controller's log, then try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, NO_ANSWER, "no answer", reason.to_string(), help)
    }
}

impl From<ReloadRefused> for Problem {
    fn from(refused: ReloadRefused) -> Problem {
        let help = "mend the file, try it with `mainstay config check`, then reload again";
        Problem::new(StatusCode::CONFLICT, Code::RELOAD_REFUSED, "reload refused", refused.to_string(), help)
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        Problem::bad_request(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::bad_request(rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        (status, [(header::CONTENT_TYPE, kind)], Json(self)).into_response()
    }
}
