use maud::{Markup, html};
use serde_json::Value;
use watertight::{
    answer::{Answer, Html},
    argument::PageCaller,
    door::{Routes, get},
};
use watertight_identity::page::PageSecret;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::frame::{Visitor, frame, token_field, when, zone};
use crate::resources::sessions::{Session, actions::View, listed};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.route("/ui/sessions", get(show).page().needs::<View, Session>())
}

async fn show(mut tx: TenantTx, PageCaller(secret): PageCaller) -> Result<Answer<Html>, Fault> {
    let zone = zone(&tx)?;
    let visitor = Visitor::of(&mut tx, secret);
    listed(tx, Some(&visitor.secret)).await?.page(|sessions| {
        frame(
            "Your sessions",
            Some(&visitor),
            &table(sessions, &visitor.secret, &zone),
        )
        .into_string()
    })
}

fn table(sessions: &Value, secret: &PageSecret, zone: &jiff::tz::TimeZone) -> Markup {
    let text =
        |session: &Value, field: &str| session[field].as_str().unwrap_or_default().to_owned();
    html! {
        p { "Where you are signed in to this studio. End what you do not know." }
        div class="table" { table {
            thead { tr { th { "Browser" } th { "Since" } th { "Last used" } th { "Ends" } th {} } }
            tbody {
                @for session in sessions["items"].as_array().into_iter().flatten() {
                    tr {
                        td { (text(session, "client")) }
                        td { (when(&session["opened_at"], zone)) }
                        td { (when(&session["seen_at"], zone)) }
                        td { (when(&session["expires_at"], zone)) }
                        td {
                            @if session["here"].as_bool() == Some(true) {
                                span class="quiet" { "this one" }
                            } @else {
                                form method="post" action={ "/ui/sessions/" (text(session, "id")) "/end" } {
                                    (token_field(secret))
                                    button { "End" }
                                }
                            }
                        }
                    }
                }
            }
        } }
    }
}
