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
use watertight_terms::{Fault, Kind, Whose};

/// Problem types that have a title of their own; others take the one of their kind.
const TITLES: &[(&str, &str)] = &[
    ("body-too-large", "body too large"),
    ("double-booking", "double booking"),
    ("headers-too-large", "headers too large"),
    ("idempotency-in-flight", "the same request is in flight"),
    (
        "idempotency-mismatch",
        "idempotency key used for another request",
    ),
    ("method-not-allowed", "method not allowed"),
    ("not-allowed", "not allowed"),
    ("not-found", "not found"),
    ("not-unique", "value already taken"),
    ("studio-frozen", "studio frozen"),
    ("uri-too-long", "URI too long"),
];

/// Problem types whose status is finer than their kind's.
const STATUSES: &[(&str, u16)] = &[("headers-too-large", 431), ("uri-too-long", 414)];

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

/// The status of one fault: its kind's, or the finer one of its problem type.
pub fn status_of_fault(fault: &Fault) -> u16 {
    registered(STATUSES, fault.slug()).unwrap_or(status_of(fault.kind()))
}

/// Answers a fault, and logs it: ours as an error, the moment's as a warning. This is the
/// function that `watertight_edge::Edge` is handed.
pub fn refuse(fault: &Fault, request_id: Uuid) -> Response {
    log(fault, request_id);
    Problem::of(fault, request_id).into_response()
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
            ("type", json!(format!("/problems/{}", fault.slug()))),
            ("title", json!(title_of(fault))),
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

fn title_of(fault: &Fault) -> &'static str {
    registered(TITLES, fault.slug()).unwrap_or(match fault.kind() {
        Kind::Malformed => "malformed request",
        Kind::Unauthenticated => "not authenticated",
        Kind::NotAllowed => "not allowed",
        Kind::Unseen => "not found",
        Kind::MethodUnknown => "method not allowed",
        Kind::TooSlow => "request too slow",
        Kind::Conflict => "conflict",
        Kind::Stale => "version is not current",
        Kind::TooLarge => "request too large",
        Kind::WrongMedia => "media type not read here",
        Kind::Invalid => "invalid value",
        Kind::TooMany => "too many requests",
        Kind::Unavailable => "not available now",
        Kind::Bug => "internal error",
    })
}

fn registered<T: Copy>(registry: &[(&str, T)], slug: &str) -> Option<T> {
    registry
        .iter()
        .find(|(name, _)| *name == slug)
        .map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight_terms::FieldFault;

    const KINDS: [Kind; 14] = [
        Kind::Malformed,
        Kind::Unauthenticated,
        Kind::NotAllowed,
        Kind::Unseen,
        Kind::MethodUnknown,
        Kind::TooSlow,
        Kind::Conflict,
        Kind::Stale,
        Kind::TooLarge,
        Kind::WrongMedia,
        Kind::Invalid,
        Kind::TooMany,
        Kind::Bug,
        Kind::Unavailable,
    ];

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
        for kind in KINDS {
            let field = FieldFault {
                pointer: "/name".to_owned(),
                code: "missing-field",
                detail: "`name` is missing".to_owned(),
            };
            let fault = Fault::new(kind, "some", "some").fields(vec![field]);
            match status_of(kind) {
                400 | 422 => assert_eq!(members(&fault), with_errors, "{kind:?}"),
                _ => assert_eq!(members(&fault), plain, "{kind:?}"),
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
        let fault = Fault::new(Kind::Conflict, "double-booking", "booked")
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
        let unknown = Fault::new(Kind::Unauthenticated, "unauthenticated", "who are you");
        let response = refuse(&unknown, Uuid::nil());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }

    #[test]
    fn some_problem_types_have_a_finer_status() {
        for (slug, status) in [
            ("uri-too-long", 414),
            ("headers-too-large", 431),
            ("other", 413),
        ] {
            assert_eq!(
                status_of_fault(&Fault::new(Kind::TooLarge, slug, "long")),
                status
            );
        }
    }
}
