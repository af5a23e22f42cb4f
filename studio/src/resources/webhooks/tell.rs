//! Brings what is due to where it goes.
//!
//! ```text
//! due()      the deliveries of a studio whose time has come
//! take()     one transaction: counts the attempt and moves the next one on, reads what is told and to whom
//! send()     no transaction: a POST through 0-outbound
//! settle()   one transaction: what came of it
//! ```
//!
//! Whoever dies between `take` and `settle` has made an attempt, which is made again when its time
//! comes: told at least once. Two workers at one delivery make one attempt: the second finds another
//! version.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_outbound::{GetOptions, Outbound, SendRequest, Verb};
use watertight_tenancy::{Read, Row, Stored, Tell, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Key, Random, hmac_sha256};
use watertight_vault::{Holder, Sealed};

use super::{
    SECRET, TARGET, Webhook,
    actions::Sign,
    deliveries::{
        Delivery, Of, State, WRITE,
        actions::{Attempt, Settle},
    },
};
use crate::{app::Desk, resources::audit};

/// At most so many are looked up at once.
const BATCH: i64 = 20;
/// Whoever is told answers within so long, and so briefly.
const TIMEOUT_MS: u64 = 5_000;
const ANSWER_BYTES: usize = 16 * 1024;
/// How long after each attempt the next one is made. The last is followed by none.
const PAUSES_S: [i64; 8] = [5, 60, 300, 1_800, 7_200, 28_800, 86_400, 86_400];

const DUE: Read = Read::new(
    "SELECT id FROM studio.deliveries WHERE tenant_id = $1 AND state = 'pending' AND next_at <= $2
     ORDER BY next_at, id LIMIT $3",
);

const TELL_ENTRIES: Tell = Tell::new("w1", "SELECT studio.tell_entries($1) AS made");
/// So many deliveries it makes at most.
const MADE_MOST: i32 = 50;

/// A version of a booking: `$2` the booking, `$3` the version.
const VERSION: Read = Read::new(
    "SELECT deed, updated_at, state, artist_id, project_id, starts_at, ends_at FROM studio.booking_versions
     WHERE tenant_id = $1 AND source_id = $2 AND version = $3",
);

/// What deliveries of a webhook are signed with: 32 bytes, written `whsec_` and base64.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(random: &Random) -> Self {
        Self(format!(
            "whsec_{}",
            BASE64_STANDARD.encode(random.bytes::<32>())
        ))
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

/// What is told, to whom.
pub(crate) struct Letter {
    id: Uuid,
    attempts: i32,
    next_at: Timestamp,
    url: String,
    secret: Secret,
    body: String,
}

/// The deliveries of a studio that are due at an instant, a batch of them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn due(mut tx: TenantTx, now: Timestamp) -> Result<Vec<Uuid>, Fault> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&now, &BATCH];
    let rows = tx.read(DUE, &parameters).await?;
    let ids = rows.iter().map(|row| row.field("id"));
    let ids = ids.collect::<Result<Vec<Uuid>, _>>()?;
    let entry = Entry::new("delivery.view", "delivery").ids(ids.iter().copied());
    tx.finish(entry).await.map(drop)?;
    Ok(ids)
}

/// Takes one in hand; none when it is due no more. What goes to an archived webhook is dead.
///
/// # Errors
/// Conflict, when another worker took it at the same moment.
pub(crate) async fn take(mut tx: TenantTx, desk: &Desk, id: Uuid) -> Result<Option<Letter>, Fault> {
    let granted = tx.grant::<Attempt, Delivery>(id).await?;
    let now = desk.clock.now();
    let delivery = granted.row();
    let entry = Entry::new("delivery.attempt", "delivery").ids([id]);
    if delivery.state != State::Pending || delivery.next_at > now {
        tx.finish(entry).await.map(drop)?;
        return Ok(None);
    }
    let (webhook, of, made_at) = (delivery.webhook, delivery.of, delivery.created_at);
    let attempts = delivery.attempts.saturating_add(1);
    let target = tx.read(TARGET, &[&webhook]).await?;
    let body = match of {
        Of::Booking(booking, version) => version_told(&mut tx, booking, version).await?,
        Of::Entries(first, last) => Some(entries_told(&mut tx, first, last, made_at).await?),
    };
    let next_at = now
        .checked_add(pause(attempts))
        .map_err(|error| Fault::bug(format!("the next attempt: {error}")))?;
    let state = match target.first() {
        Some(_) => State::Pending,
        None => State::Dead,
    };
    let status = None::<i32>;
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&now, &state.as_str(), &attempts, &next_at, &status];
    tx.change(granted, WRITE, &parameters).await?;
    let letter = match (target.first(), body) {
        (Some(target), Some(body)) => {
            let webhook = Webhook::from_row(target)?;
            let secret = secret(&mut tx, desk, &webhook, target).await?;
            Some(Letter {
                id,
                attempts,
                next_at,
                url: webhook.url,
                secret,
                body: body.to_string(),
            })
        }
        _ => None,
    };
    tx.commit(entry).await.map(drop)?;
    Ok(letter)
}

/// A version of a booking, as it is told.
async fn version_told(
    tx: &mut TenantTx,
    booking: Uuid,
    version: i32,
) -> Result<Option<Value>, Fault> {
    let told = tx.read(VERSION, &[&booking, &version]).await?;
    let Some(told) = told.first() else {
        return Ok(None);
    };
    let (deed, at): (String, Timestamp) = (told.field("deed")?, told.field("updated_at")?);
    let (state, artist, project): (String, Uuid, Option<Uuid>) = (
        told.field("state")?,
        told.field("artist_id")?,
        told.field("project_id")?,
    );
    let (starts_at, ends_at): (Timestamp, Timestamp) =
        (told.field("starts_at")?, told.field("ends_at")?);
    Ok(Some(json!({
        "type": format!("booking.{deed}"), "timestamp": at,
        "data": {
            "booking_id": booking, "version": version, "state": state, "artist_id": artist,
            "project_id": project, "starts_at": starts_at, "ends_at": ends_at,
        },
    })))
}

/// Entries of the ledger, as they are told: to the letter the same each time.
async fn entries_told(
    tx: &mut TenantTx,
    first: i64,
    last: i64,
    made_at: Timestamp,
) -> Result<Value, Fault> {
    let events = audit::events(tx, first, last).await?;
    Ok(json!({
        "type": "audit.entries", "timestamp": made_at,
        "data": { "first_seq": first, "last_seq": last, "events": events },
    }))
}

/// Makes deliveries of what the ledger has and nobody was told. Says whether there may be more.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn prepare(mut tx: TenantTx) -> Result<bool, Fault> {
    let tenant = tx.tenant().to_string();
    let rows = tx.tell(TELL_ENTRIES, &[&tenant]).await?;
    let made: i32 = match rows.first() {
        Some(row) => row.field("made")?,
        None => 0,
    };
    let entry = Entry::new("delivery.prepare", "delivery");
    tx.commit(entry).await.map(drop)?;
    Ok(made >= MADE_MOST)
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

fn pause(attempts: i32) -> SignedDuration {
    let place = usize::try_from(attempts - 1).unwrap_or_default();
    let last = PAUSES_S.last().copied().unwrap_or_default();
    SignedDuration::from_secs(PAUSES_S.get(place).copied().unwrap_or(last))
}

/// Tells it. Gives what was answered; none when nobody did, or the address is none that is reached.
///
/// # Errors
/// When it cannot be signed: a defect of ours.
pub(crate) async fn send(
    outbound: &Outbound,
    letter: &Letter,
    now: Timestamp,
) -> Result<Option<u16>, Fault> {
    let at_s = now.as_second();
    let signature = letter.secret.sign(letter.id, at_s, &letter.body)?;
    let header = |name: &str, value: String| (name.to_owned(), value);
    let request = SendRequest {
        verb: Verb::Post,
        url: letter.url.clone(),
        json: Some(letter.body.clone()),
    };
    let options = GetOptions {
        max_bytes: ANSWER_BYTES,
        timeout_ms: TIMEOUT_MS,
        headers: vec![
            header("webhook-id", letter.id.to_string()),
            header("webhook-timestamp", at_s.to_string()),
            header("webhook-signature", signature),
        ],
    };
    match outbound.send(request, options).await {
        Ok(answer) => Ok(Some(answer.status)),
        Err(error) => {
            tracing::info!(delivery = %letter.id, "a webhook cannot be told: {error}");
            Ok(None)
        }
    }
}

/// Notes what came of it.
///
/// # Errors
/// Conflict, when somebody replayed it meanwhile.
pub(crate) async fn settle(
    mut tx: TenantTx,
    desk: &Desk,
    letter: &Letter,
    status: Option<u16>,
) -> Result<(), Fault> {
    let granted = tx.grant::<Settle, Delivery>(letter.id).await?;
    let has_arrived = status.is_some_and(|status| (200..300).contains(&status));
    let is_last = usize::try_from(letter.attempts).unwrap_or_default() >= PAUSES_S.len();
    let state = match (has_arrived, is_last) {
        (true, _) => State::Delivered,
        (false, true) => State::Dead,
        (false, false) => State::Pending,
    };
    let now = desk.clock.now();
    let status = status.map(i32::from);
    let parameters: [&(dyn ToSql + Sync); 5] = [
        &now,
        &state.as_str(),
        &letter.attempts,
        &letter.next_at,
        &status,
    ];
    let (spent, _row) = tx.change(granted, WRITE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([letter.id]);
    tx.commit(entry).await.map(drop)
}
