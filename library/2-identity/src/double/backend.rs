//! The Backend API of the stand-in: the endpoints that [`crate::backend`] asks, over whom it knows.

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Double;

/// A page has so many rows when nothing is said, and at most.
const PAGE_ROWS: usize = 10;
const PAGE_ROWS_MOST: usize = 500;

impl Double {
    pub(super) fn backend(&self) -> Router {
        Router::new()
            .route("/v1/organizations/{id}", get(organization))
            .route("/v1/organizations/{id}/memberships", get(memberships))
            .route(
                "/v1/organizations/{id}/memberships/{user}",
                patch(set_role).delete(remove),
            )
            .route("/v1/organizations/{id}/invitations", post(invite))
            .route("/v1/sessions", get(sessions))
            .route("/v1/sessions/{id}/revoke", post(revoke))
            .layer(from_fn_with_state(self.clone(), with_the_key))
            .with_state(self.clone())
    }
}

async fn with_the_key(State(double): State<Double>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let wanted = format!("Bearer {}", double.0.secret_key);
    if given.is_some_and(|given| given.as_bytes() == wanted.as_bytes()) {
        next.run(request).await
    } else {
        refusal(StatusCode::UNAUTHORIZED, "authentication_invalid")
    }
}

async fn organization(State(double): State<Double>, Path(id): Path<String>) -> Response {
    found(double.directory().organization(&id))
}

#[derive(Deserialize)]
struct Page {
    user_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

impl Page {
    fn of(&self, list: Vec<Value>) -> Response {
        let total = list.len();
        let rows = self.limit.unwrap_or(PAGE_ROWS).min(PAGE_ROWS_MOST);
        let list = list.into_iter().skip(self.offset.unwrap_or_default());
        let data: Vec<Value> = list.take(rows).collect();
        answer(&json!({ "data": data, "total_count": total }))
    }
}

async fn memberships(
    State(double): State<Double>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Response {
    let directory = double.directory();
    match directory.organization(&id) {
        Some(_) => page.of(directory.memberships(&id)),
        None => found(None),
    }
}

async fn set_role(
    State(double): State<Double>,
    Path((id, user)): Path<(String, String)>,
    body: String,
) -> Response {
    let Some(role) = member(&body, "role").filter(|role| role.starts_with("org:")) else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "form_param_value_invalid");
    };
    let now_ms = double.now_ms();
    let changed = double.directory().set_role(&id, &user, &role, now_ms);
    double.tell("organizationMembership.updated", changed)
}

async fn remove(
    State(double): State<Double>,
    Path((id, user)): Path<(String, String)>,
) -> Response {
    let was = double.directory().remove(&id, &user);
    double.tell("organizationMembership.deleted", was)
}

async fn invite(State(double): State<Double>, Path(id): Path<String>, body: String) -> Response {
    let (Some(email), Some(role)) = (member(&body, "email_address"), member(&body, "role")) else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "form_param_missing");
    };
    if double.directory().organization(&id).is_none() {
        return found(None);
    }
    let invitation = json!({
        "object": "organization_invitation", "id": double.new_id("orginv"), "organization_id": id, "role": role,
        "email_address": email, "status": "pending", "updated_at": double.now_ms(),
    });
    let kept = double.directory().invite(&id, &email, &invitation);
    match kept {
        Some(()) => double.tell("organizationInvitation.created", Some(invitation)),
        None => refusal(StatusCode::BAD_REQUEST, "duplicate_record"),
    }
}

async fn sessions(State(double): State<Double>, Query(page): Query<Page>) -> Response {
    let user = page.user_id.clone().unwrap_or_default();
    page.of(double.directory().sessions(&user))
}

async fn revoke(State(double): State<Double>, Path(id): Path<String>) -> Response {
    let now_ms = double.now_ms();
    let revoked = double.directory().revoke(&id, now_ms);
    double.tell("session.revoked", revoked)
}

impl Double {
    /// Answers with a thing that changed, and keeps the event of it.
    fn tell(&self, kind: &str, changed: Option<Value>) -> Response {
        if let Some(data) = &changed {
            let event = self.event(kind, data);
            self.directory().happened(event);
        }
        found(changed)
    }
}

fn member(body: &str, name: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    Some(body.get(name)?.as_str()?.to_owned())
}

fn found(thing: Option<Value>) -> Response {
    match thing {
        Some(thing) => answer(&thing),
        None => refusal(StatusCode::NOT_FOUND, "resource_not_found"),
    }
}

fn answer(body: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// A refusal in Clerk's form.
fn refusal(status: StatusCode, code: &str) -> Response {
    let body = json!({ "errors": [{ "code": code, "message": "", "long_message": "" }] });
    (status, answer(&body)).into_response()
}
