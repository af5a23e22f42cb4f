//! Brings what is due to where it goes.
//!
//! ```text
//! due()      the deliveries of a studio whose time has come
//! take()     one transaction: counts the attempt and moves the next one on, reads what is told and to whom
//! send()     no transaction: a POST or a mail through 0-outbound
//! settle()   one transaction: what came of it
//! ```
//!
//! Whoever dies between `take` and `settle` has made an attempt, which is made again when its time
//! comes: told at least once. Two workers at one delivery make one attempt: the second finds another
//! version.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_authority::Resource;
use watertight_outbound::mail::Mail;
use watertight_tenancy::{Read, Tell, TenantTx, ToSql};
use watertight_terms::{Entry, Fault};

use super::{
    deliveries::{
        Delivery, Of, State, WRITE,
        actions::{Attempt, Settle},
    },
    hook::{self, Hook},
    mail,
};
use crate::{
    app::Desk,
    resources::{alerts, audit, incidents},
};

/// At most so many are looked up at once.
const BATCH: i64 = 20;
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

/// A version of a booking, as far as it is told.
pub(super) struct Version {
    pub(super) booking: Uuid,
    pub(super) version: i32,
    pub(super) deed: String,
    pub(super) at: Timestamp,
    pub(super) state: String,
    pub(super) artist: Uuid,
    pub(super) project: Option<Uuid>,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

/// How it is told.
enum Way {
    Hook(Hook),
    Mail(Mail),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// What was answered; none when nobody did, or the address is none that is reached.
    pub(crate) status: Option<u16>,
    /// It will never be taken.
    pub(crate) is_final: bool,
}

impl Outcome {
    /// What it makes of what was told, where no attempt comes after the last.
    pub(crate) fn state(self, is_last: bool) -> State {
        let answered = self.status;
        let has_arrived = answered.is_some_and(|status| (200..300).contains(&status));
        match (has_arrived, is_last || self.is_final) {
            (true, _) => State::Delivered,
            (false, true) => State::Dead,
            (false, false) => State::Pending,
        }
    }
}

/// What is told, to whom.
pub(crate) struct Letter {
    id: Uuid,
    attempts: i32,
    next_at: Timestamp,
    way: Way,
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

/// Takes one in hand; none when it is due no more. What leads nowhere any more is dead.
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
    let attempts = delivery.attempts.saturating_add(1);
    let way = way(&mut tx, desk, delivery).await?;
    let next_at = now
        .checked_add(pause(attempts))
        .map_err(|error| Fault::bug(format!("the next attempt: {error}")))?;
    let state = match way {
        Some(_) => State::Pending,
        None => State::Dead,
    };
    let status = None::<i32>;
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&now, &state.as_str(), &attempts, &next_at, &status];
    tx.change(granted, WRITE, &parameters).await?;
    tx.commit(entry).await.map(drop)?;
    Ok(way.map(|way| Letter {
        id,
        attempts,
        next_at,
        way,
    }))
}

/// To whom it is told, and what; none when nothing is told there any more.
async fn way(tx: &mut TenantTx, desk: &Desk, delivery: &Delivery) -> Result<Option<Way>, Fault> {
    let (booking, version) = match delivery.of {
        Of::Booking(booking, version) => (booking, version),
        Of::Entries(first, last) => {
            let webhook = delivery
                .webhook
                .ok_or_else(|| Fault::bug("entries of the ledger that go to nobody"))?;
            let body = entries_told(tx, first, last, delivery.created_at).await?;
            return Ok(hook::to(tx, desk, webhook, &body).await?.map(Way::Hook));
        }
        Of::Alert(alert) => return alert_way(tx, desk, delivery, alert).await,
        Of::Notice(notice) => {
            let member = delivery
                .member
                .ok_or_else(|| Fault::bug("a notice that goes to nobody"))?;
            let told = incidents::told(tx, notice).await?;
            let mail = mail::of_notice(tx, desk, (delivery.id(), member), told);
            return Ok(mail.await?.map(Way::Mail));
        }
    };
    let version = self::version(tx, booking, version).await?;
    match (delivery.webhook, delivery.member) {
        (Some(webhook), _) => {
            let told = hook::to(tx, desk, webhook, &hook::body(&version)).await?;
            Ok(told.map(Way::Hook))
        }
        (None, Some(member)) => {
            let mail = mail::to(tx, desk, (delivery.id(), member), &version);
            Ok(mail.await?.map(Way::Mail))
        }
        (None, None) => Err(Fault::bug("a delivery that leads nowhere")),
    }
}

/// To whom an alert is told, and what.
async fn alert_way(
    tx: &mut TenantTx,
    desk: &Desk,
    delivery: &Delivery,
    alert: Uuid,
) -> Result<Option<Way>, Fault> {
    let told = alerts::told(tx, alert).await?;
    match (delivery.webhook, delivery.member) {
        (Some(webhook), _) => {
            let hook = hook::to(tx, desk, webhook, &told.body()).await?;
            Ok(hook.map(Way::Hook))
        }
        (None, Some(member)) => {
            let mail = mail::of_alert(tx, desk, (delivery.id(), member), &told);
            Ok(mail.await?.map(Way::Mail))
        }
        (None, None) => Err(Fault::bug("a delivery that leads nowhere")),
    }
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

async fn version(tx: &mut TenantTx, booking: Uuid, version: i32) -> Result<Version, Fault> {
    let rows = tx.read(VERSION, &[&booking, &version]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a delivery of a version that is not there"))?;
    Ok(Version {
        booking,
        version,
        deed: row.field("deed")?,
        at: row.field("updated_at")?,
        state: row.field("state")?,
        artist: row.field("artist_id")?,
        project: row.field("project_id")?,
        starts_at: row.field("starts_at")?,
        ends_at: row.field("ends_at")?,
    })
}

fn pause(attempts: i32) -> SignedDuration {
    let place = usize::try_from(attempts - 1).unwrap_or_default();
    let last = PAUSES_S.last().copied().unwrap_or_default();
    SignedDuration::from_secs(PAUSES_S.get(place).copied().unwrap_or(last))
}

/// Tells it.
///
/// # Errors
/// When it cannot be signed: a defect of ours.
pub(crate) async fn send(desk: &Desk, letter: &Letter) -> Result<Outcome, Fault> {
    match &letter.way {
        Way::Hook(hook) => {
            let status = hook
                .send(&desk.outbound, letter.id, desk.clock.now())
                .await?;
            Ok(Outcome {
                status,
                is_final: false,
            })
        }
        Way::Mail(mail) => Ok(mail::send(desk, mail).await),
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
    outcome: Outcome,
) -> Result<(), Fault> {
    let granted = tx.grant::<Settle, Delivery>(letter.id).await?;
    let is_last = usize::try_from(letter.attempts).unwrap_or_default() >= PAUSES_S.len();
    let state = outcome.state(is_last);
    let now = desk.clock.now();
    let status = outcome.status.map(i32::from);
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
