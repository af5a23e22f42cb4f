//! A telling to a webhook: a signed `POST`.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_outbound::{GetOptions, Outbound, SendRequest, Verb};
use watertight_tenancy::{Row, Stored, TenantTx};
use watertight_terms::{Fault, Key, Random, hmac_sha256};
use watertight_vault::{Holder, Sealed};

use super::{SECRET, TARGET, Webhook, actions::Sign, tell::Version};
use crate::app::Desk;

/// Whoever is told answers within so long, and so briefly.
const TIMEOUT_MS: u64 = 5_000;
const ANSWER_BYTES: usize = 16 * 1024;

/// What deliveries of a webhook are signed with: 32 bytes, written `whsec_` and base64.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(super) fn new(random: &Random) -> Self {
        Self(format!(
            "whsec_{}",
            BASE64_STANDARD.encode(random.bytes::<32>())
        ))
    }

    /// One that an operator wrote; none when it is not such a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    pub(super) fn to_text(&self) -> String {
        self.0.clone()
    }

    /// `v1,` and the HMAC of what is sent: Standard Webhooks 1.0.
    fn sign(&self, id: Uuid, at_s: i64, body: &str) -> Result<String, Fault> {
        let malformed = || Fault::bug("a webhook's secret is malformed");
        let text = self.0.strip_prefix("whsec_").ok_or_else(malformed)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| malformed())?;
        let key = Key::new(bytes.try_into().map_err(|_| malformed())?);
        let mac = hmac_sha256(&key, format!("{id}.{at_s}.{body}").as_bytes());
        Ok(format!("v1,{}", BASE64_STANDARD.encode(mac)))
    }
}

/// What is told to a webhook.
pub(crate) struct Hook {
    pub(crate) url: String,
    pub(crate) secret: Secret,
    pub(crate) body: String,
}

/// A version of a booking, as it is told.
pub(super) fn body(told: &Version) -> Value {
    json!({
        "type": format!("booking.{}", told.deed), "timestamp": told.at,
        "data": {
            "booking_id": told.booking, "version": told.version, "state": told.state, "artist_id": told.artist,
            "project_id": told.project, "starts_at": told.starts_at, "ends_at": told.ends_at,
        },
    })
}

/// What a webhook is told; none when it is archived.
pub(super) async fn to(
    tx: &mut TenantTx,
    desk: &Desk,
    webhook: Uuid,
    body: &Value,
) -> Result<Option<Hook>, Fault> {
    let rows = tx.read(TARGET, &[&webhook]).await?;
    let Some(target) = rows.first() else {
        return Ok(None);
    };
    let webhook = Webhook::from_row(target)?;
    let secret = secret(tx, desk, &webhook, target).await?;
    Ok(Some(Hook {
        url: webhook.url,
        secret,
        body: body.to_string(),
    }))
}

async fn secret(
    tx: &mut TenantTx,
    desk: &Desk,
    webhook: &Webhook,
    row: &Row,
) -> Result<Secret, Fault> {
    let sealed = Sealed::from_stored(row.field("secret")?);
    let keys = desk.vault.to_open(tx, Holder::Studio).await?;
    let allowed = tx.allowed::<Sign, Webhook>(webhook);
    let allowed = allowed.ok_or_else(|| Fault::not_allowed().log("webhook.sign"))?;
    let opened = keys.open(tx, &allowed, SECRET, &sealed)?;
    Ok(Secret(opened.expose().to_owned()))
}

impl Hook {
    /// Tells it. Gives what was answered; none when nobody did, or the address is none that is reached.
    ///
    /// # Errors
    /// When it cannot be signed: a defect of ours.
    pub(crate) async fn send(
        &self,
        outbound: &Outbound,
        delivery: Uuid,
        now: Timestamp,
    ) -> Result<Option<u16>, Fault> {
        let at_s = now.as_second();
        let signature = self.secret.sign(delivery, at_s, &self.body)?;
        let header = |name: &str, value: String| (name.to_owned(), value);
        let request = SendRequest {
            verb: Verb::Post,
            url: self.url.clone(),
            json: Some(self.body.clone()),
        };
        let options = GetOptions {
            max_bytes: ANSWER_BYTES,
            timeout_ms: TIMEOUT_MS,
            headers: vec![
                header("webhook-id", delivery.to_string()),
                header("webhook-timestamp", at_s.to_string()),
                header("webhook-signature", signature),
            ],
        };
        match outbound.send(request, options).await {
            Ok(answer) => Ok(Some(answer.status)),
            Err(error) => {
                tracing::info!(%delivery, "a webhook cannot be told: {error}");
                Ok(None)
            }
        }
    }
}
