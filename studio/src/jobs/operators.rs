//! Tells operators, outside of this machine, that something was noticed.
//!
//! ```text
//! POST  {"type": "alert.noticed", "timestamp": "…", "data": {"kind": "mass-reading", "severity": "high", "studio": "…"}}
//! mail  the same in words
//! ```
//!
//! Rows of `watch.tellings`, written by a trigger beside each alert, are the outbox: an attempt is counted before it is made,
//! so whoever dies has made it, and it is made again under the same id. Nothing of a studio is told but its id.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_outbound::mail::Mail;
use watertight_tenancy::{Row, Tell};
use watertight_terms::Fault;
use watertight_watch::Kind;

use super::AT_ONCE;
use crate::{
    app::App,
    config::Alerts,
    resources::webhooks::{
        hook::{Hook, Secret},
        mail,
        tell::Outcome,
    },
};

const TAKE: Tell = Tell::new(
    "y7",
    "SELECT id, way, kind, severity, studio, noticed_at, attempts FROM watch.take_tellings($1)",
);
const SETTLE: Tell = Tell::new("y8", "SELECT watch.settle_telling($1)");

/// Where operators are told.
#[derive(Clone, Default)]
pub struct Operators {
    hook: Option<(String, Secret)>,
    mail: Option<String>,
}

impl Operators {
    /// As the configuration says.
    ///
    /// # Errors
    /// When the secret cannot be read or used.
    pub fn new(alerts: &Alerts) -> Result<Self, String> {
        let Some((url, file)) = alerts
            .webhook_url
            .as_ref()
            .zip(alerts.webhook_secret_file.as_ref())
        else {
            return Ok(Self {
                hook: None,
                mail: alerts.mail.clone(),
            });
        };
        let wrong = |why: &str| format!("webhook_secret_file `{}`: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
        let secret = Secret::parse(text.trim())
            .ok_or_else(|| wrong("write `whsec_` and 32 bytes in base64"))?;
        Ok(Self {
            hook: Some((url.clone(), secret)),
            mail: alerts.mail.clone(),
        })
    }

    /// The ways by which they are told.
    pub fn ways(&self) -> Vec<&'static str> {
        let hook = self.hook.as_ref().map(|_| WEBHOOK);
        let mail = self.mail.as_ref().map(|_| MAIL);
        hook.into_iter().chain(mail).collect()
    }
}

const WEBHOOK: &str = "webhook";
const MAIL: &str = "mail";

/// That something was noticed, to be told one way.
struct Telling {
    id: Uuid,
    way: String,
    kind: String,
    severity: String,
    studio: Option<Uuid>,
    noticed_at: Timestamp,
    attempts: i32,
}

/// Tells what is due, a batch of it. What does not arrive is due again.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn tell(app: &App) -> Result<(), Fault> {
    let ways = app.operators.ways().join(",");
    let rows = app.tenancy.tell(TAKE, &[&ways]).await?;
    let taken: Result<Vec<Telling>, Fault> = rows.iter().map(Telling::from_row).collect();
    let told = taken?.into_iter().map(|telling| deliver(app, telling));
    let mut told = stream::iter(told).buffer_unordered(AT_ONCE);
    while let Some(one) = told.next().await {
        one?;
    }
    Ok(())
}

async fn deliver(app: &App, telling: Telling) -> Result<(), Fault> {
    let outcome = telling.send(app).await?;
    // That it was the last attempt the database knows.
    let state = outcome.state(false).as_str();
    let id = telling.id.to_string();
    let status = outcome.status.map(|status| status.to_string());
    let (status, attempts) = (status.unwrap_or_default(), telling.attempts.to_string());
    let fields = [id.as_str(), state, &status, &attempts];
    app.tenancy.tell(SETTLE, &fields).await.map(drop)
}

impl Telling {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            id: row.field("id")?,
            way: row.field("way")?,
            kind: row.field("kind")?,
            severity: row.field("severity")?,
            studio: row.field("studio")?,
            noticed_at: row.field("noticed_at")?,
            attempts: row.field("attempts")?,
        })
    }

    async fn send(&self, app: &App) -> Result<Outcome, Fault> {
        let operators = &app.operators;
        match (self.way.as_str(), &operators.hook, &operators.mail) {
            (WEBHOOK, Some((url, secret)), _) => {
                let hook = Hook {
                    url: url.clone(),
                    secret: secret.clone(),
                    body: self.body().to_string(),
                };
                let sent = hook.send(&app.desk.outbound, self.id, app.clock.now());
                Ok(Outcome {
                    status: sent.await?,
                    is_final: false,
                })
            }
            (MAIL, _, Some(to)) => Ok(mail::send(&app.desk, &self.mail(app, to)).await),
            _ => Err(Fault::bug(format!(
                "operators are told by `{}`, which nobody named",
                self.way
            ))),
        }
    }

    fn body(&self) -> Value {
        let Self { kind, severity, .. } = self;
        let data = match self.studio {
            Some(studio) => json!({ "kind": kind, "severity": severity, "studio": studio }),
            None => json!({ "kind": kind, "severity": severity }),
        };
        json!({ "type": "alert.noticed", "timestamp": self.noticed_at, "data": data })
    }

    fn mail(&self, app: &App, to: &str) -> Mail {
        let Self { kind, severity, .. } = self;
        let told = match self.studio {
            Some(studio) => format!(
                "In the studio {studio}. Its owners are told too: whom it is about and what shows it is theirs to see. What may be \
                 done by operators is in docs/runbooks/incident.md."
            ),
            None => {
                let advice = Kind::parse(kind).map(Kind::advice).unwrap_or_default();
                format!(
                    "On the platform. `studio watch status` says what it is about.\n\nWhat to do: {advice}."
                )
            }
        };
        let again = match (self.studio, severity.as_str()) {
            (Some(_), _) => "The same of the same studio is told once an hour at most.",
            (None, "high" | "critical") => {
                "While it goes on you are told again, once an hour at most."
            }
            (None, _) => "While it goes on you are told again, once a day at most.",
        };
        let at = self.noticed_at;
        Mail {
            id: mail::id(&app.desk.origin, self.id),
            at: at.into(),
            to: to.to_owned(),
            subject: format!("something looks wrong ({kind}, {severity})"),
            text: format!(
                "Something looks wrong: {kind} ({severity}), {at}.\n\n{told}\n\n-- \n{again}\n"
            ),
        }
    }
}
