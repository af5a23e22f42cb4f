//! Faults as answers: the one file where statuses live.
//!
//! ```
//! use uuid::Uuid;
//! use watertight::problem::Problem;
//! use watertight_terms::Fault;
//!
//! let problem = Problem::of(&Fault::unseen(), Uuid::nil());
//! assert_eq!(problem.status(), 404);
//! assert_eq!(problem.document()["type"], "/problems/not-found");
//! assert_eq!(problem.document()["title"], "not found");
//! ```
//!
//! Form: RFC 9457. `type`, `title`, `status`, `detail`, `request_id`, and on 400 and 422 always
//! `errors`; so a client meets exactly two sets of members, plus what a fault's own extension
//! adds (the `conflicts` of a double booking). The logged message of a fault never gets here.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use watertight_terms::{Fault, Kind, ProblemType, Whose, problems};

/// Problem types whose status is finer than their kind's.
const STATUSES: &[(&ProblemType, u16)] = &[
    (problems::HEADERS_TOO_LARGE, 431),
    (problems::URI_TOO_LONG, 414),
];

/// The status of a kind of fault.
pub fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unauthenticated => 401,
        Kind::NotAllowed => 403,
        Kind::Unseen => 404,
        Kind::MethodUnknown => 405,
        Kind::TooSlow => 408,
        Kind::Conflict => 409,
        Kind::Stale => 412,
        Kind::TooLarge => 413,
        Kind::WrongMedia => 415,
        Kind::Invalid => 422,
        Kind::TooMany => 429,
        Kind::Bug => 500,
        Kind::Unavailable => 503,
    }
}

/// The status of a problem type: its kind's, or a finer one.
pub fn status_of_type(problem: &ProblemType) -> u16 {
    let finer = STATUSES.iter().find(|(known, _)| *known == problem);
    finer.map_or_else(|| status_of(problem.kind()), |(_, status)| *status)
}

/// The status of one fault.
pub fn status_of_fault(fault: &Fault) -> u16 {
    status_of_type(fault.problem())
}

/// Answers a fault, and logs it: ours as an error, the moment's as a warning. This is the
/// function that `watertight_edge::Edge` is handed.
pub fn refuse(fault: &Fault, request_id: Uuid) -> Response {
    log(fault, request_id);
    let mut response = Problem::of(fault, request_id).into_response();
    Rule::note(fault, &mut response);
    response
}

/// In a refusal's extensions: the rule that refused, for whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(pub &'static str);

impl Rule {
    pub(crate) fn note(fault: &Fault, response: &mut Response) {
        response.extensions_mut().insert(Self(fault.slug()));
    }
}

/// Logs a fault by whose it is.
pub(crate) fn log(fault: &Fault, request_id: Uuid) {
    let slug = fault.slug();
    match fault.kind().whose() {
        Whose::Us => tracing::error!(%request_id, slug, "{fault}"),
        Whose::Moment => tracing::warn!(%request_id, slug, "{fault}"),
        Whose::Caller => tracing::debug!(%request_id, slug, "{fault}"),
    }
}

/// A problem document with its status and headers.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: u16,
    retry_after_s: Option<u32>,
    document: Map<String, Value>,
}

impl Problem {
    /// The problem that a fault is to its caller.
    pub fn of(fault: &Fault, request_id: Uuid) -> Self {
        let status = status_of_fault(fault);
        let mut document = Map::new();
        // First, so that no extension can take a member's place.
        if let Some(Value::Object(extension)) = fault.extension() {
            document.extend(extension.clone());
        }
        for (member, value) in [
            ("type", json!(fault.problem().uri())),
            ("title", json!(fault.problem().title())),
            ("status", json!(status)),
            ("detail", json!(fault.spoken())),
            ("request_id", json!(request_id)),
        ] {
            document.insert(member.to_owned(), value);
        }
        document.remove("errors");
        if matches!(status, 400 | 422) {
            document.insert("errors".to_owned(), json!(fault.field_faults()));
        }
        Self {
            status,
            retry_after_s: fault.retry_after_s(),
            document,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The document's members.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Value::Object(self.document).to_string();
        let mut response = Response::new(body.into());
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let media = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == 401 {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight_terms::FieldFault;

    fn members(fault: &Fault) -> Vec<String> {
        let problem = Problem::of(fault, Uuid::nil());
        // Sorted: whether a map keeps the order of its members depends on who else is built.
        let names: std::collections::BTreeSet<_> = problem.document().keys().cloned().collect();
        names.into_iter().collect()
    }

    #[test]
    fn there_are_exactly_two_sets_of_members() {
        let plain = ["detail", "request_id", "status", "title", "type"];
        let with_errors = ["detail", "errors", "request_id", "status", "title", "type"];
        for problem in problems::ALL {
            let field = FieldFault {
                pointer: "/name".to_owned(),
                code: "missing-field",
                detail: "`name` is missing".to_owned(),
            };
            let fault = Fault::new(problem, "some").fields(vec![field]);
            match status_of_type(problem) {
                400 | 422 => assert_eq!(members(&fault), with_errors, "{problem:?}"),
                _ => assert_eq!(members(&fault), plain, "{problem:?}"),
            }
        }
    }

    #[test]
    fn the_document_says_what_the_fault_speaks_and_not_what_it_logs() {
        let id = Uuid::from_u128(7);
        let problem = Problem::of(&Fault::bug("relation \"x\" is gone"), id);
        let text = Value::Object(problem.document().clone()).to_string();
        assert!(text.contains("/problems/internal") && text.contains(&id.to_string()));
        assert!(!text.contains("relation"));
    }

    #[test]
    fn an_extension_is_merged_and_takes_no_members_place() {
        let fault = Fault::new(problems::CONFLICT, "booked")
            .details(json!({"conflicts": [1], "status": 200, "errors": []}));
        let problem = Problem::of(&fault, Uuid::nil());
        assert_eq!(problem.document()["conflicts"], json!([1]));
        assert_eq!(problem.document()["status"], 409);
        assert!(!problem.document().contains_key("errors"));
    }

    #[test]
    fn headers_say_when_and_how_to_come_back() {
        let response = refuse(&Fault::unavailable("busy", 3), Uuid::nil());
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert!(!response.headers().contains_key("www-authenticate"));
        let unknown = Fault::new(problems::UNAUTHENTICATED, "who are you");
        let response = refuse(&unknown, Uuid::nil());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }

    #[test]
    fn some_problem_types_have_a_finer_status() {
        for (problem, status) in [
            (problems::URI_TOO_LONG, 414),
            (problems::HEADERS_TOO_LARGE, 431),
            (problems::BODY_TOO_LARGE, 413),
        ] {
            assert_eq!(status_of_type(problem), status);
        }
    }
}
