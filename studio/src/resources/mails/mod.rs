//! Whether one is told by mail of what happens to the own time.
//!
//! ```text
//! GET   /v1/me/mails
//! PATCH /v1/me/mails   {"wanted": false}
//! ```
//!
//! Whoever has an address here is told when a booking of their time is confirmed, moved, called off or
//! challenged by somebody else: what happened, from when to when, and where to look; neither names nor
//! notes nor rates. A mail is a delivery, as a webhook's telling is: tried eight times over two days, each
//! time by the same `Message-ID`, and seen by owners at `/v1/deliveries`. What a relay refuses for good is
//! dead at once.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watertight::{
    answer::{Answer, Draft},
    argument::{Firm, Valid},
    door::{Routes, get, patch},
};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault, TenantId};

use super::Registered;

/// The choice, for policies and the ledger.
#[derive(Debug)]
pub struct Mail(TenantId);

super::of_studio!(Mail, "mail");

/// What may be done with it.
pub mod actions {
    crate::resources::actions! { super::Mail: View "mail.view", Choose "mail.choose" }
}

/// The choice, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[],
    rows: &[],
    constraints: &[],
    routes,
};

fn routes(routes: Routes) -> Routes {
    use actions::{Choose, View};
    routes.route(
        "/v1/me/mails",
        get(show)
            .says("whether you are told by mail of what happens to your time")
            .needs::<View, Mail>()
            .and(
                patch(choose)
                    .says("decides whether you are")
                    .sample(r#"{"wanted": false}"#)
                    .needs::<Choose, Mail>(),
            ),
    )
}

/// The choice as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Mails")]
struct MailsView {
    wanted: bool,
}

/// What is chosen; what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chosen {
    #[serde(default)]
    #[garde(dive)]
    wanted: Firm<Wanted>,
}

/// Whether mails are wanted.
#[derive(Debug, Clone, Copy, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
struct Wanted(#[garde(skip)] bool);

async fn show(mut tx: TenantTx) -> Result<Answer<MailsView>, Fault> {
    let _granted = tx.grant_new::<actions::View, Mail>()?;
    let wanted = tx.mails().await?;
    let entry = Entry::new("mail.view", "mail");
    Draft::ok(MailsView { wanted })?.finish(tx, entry).await
}

async fn choose(
    mut tx: TenantTx,
    Valid(chosen): Valid<Chosen>,
) -> Result<Answer<MailsView>, Fault> {
    let granted = tx.grant_new::<actions::Choose, Mail>()?;
    let wanted = chosen.wanted.given().map(|Wanted(wanted)| wanted);
    let wanted = tx.choose_mails(granted, wanted).await?;
    let entry = Entry::new("mail.choose", "mail");
    Draft::ok(MailsView { wanted })?.commit(tx, entry).await
}
