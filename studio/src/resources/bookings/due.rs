//! What the clock does to bookings, one transaction each: whoever dies in between has done some of them
//! whole and the others not at all.

use jiff::Timestamp;
use uuid::Uuid;
use watertight_tenancy::{Read, TenantTx, ToSql};
use watertight_terms::{Entry, Fault};

use super::{
    Booking, State, Transition,
    actions::{Expire, Lapse, View},
    acts::{Said, stands, take},
    content::write,
    time::lock,
};
use crate::app::Desk;

/// At most so many are looked up at once.
const BATCH: i64 = 100;

/// Holds that ran out by `$2`, and that no legal hold keeps as they are.
const HOLDS: Read = Read::new(
    "SELECT id FROM studio.bookings WHERE tenant_id = $1 AND state = 'hold' AND expires_at <= $2
       AND archived_at IS NULL AND NOT custody.held('studio.bookings', to_jsonb(bookings)) ORDER BY expires_at, id LIMIT $3",
);

/// Challenges that must have been answered by `$2`.
const CHALLENGES: Read = Read::new(
    "SELECT id FROM studio.bookings WHERE tenant_id = $1 AND state = 'pencil' AND answer_by <= $2
       AND archived_at IS NULL AND NOT custody.held('studio.bookings', to_jsonb(bookings)) ORDER BY answer_by, id LIMIT $3",
);

/// A kind of work that the triggers of bookings schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Holds that ran out.
    Holds,
    /// Challenges that were not answered.
    Challenges,
}

impl Due {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Challenges => "challenges",
        }
    }

    /// The kind of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Holds, Self::Challenges];
        all.into_iter().find(|due| due.name() == name)
    }

    /// The bookings of a studio that are due at an instant, a batch of them.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn find(self, mut tx: TenantTx, now: Timestamp) -> Result<Vec<Uuid>, Fault> {
        let read = match self {
            Self::Holds => HOLDS,
            Self::Challenges => CHALLENGES,
        };
        let parameters: [&(dyn ToSql + Sync); 2] = [&now, &BATCH];
        let rows = tx.read(read, &parameters).await?;
        let ids = rows
            .iter()
            .map(|row| row.field("id"))
            .collect::<Result<Vec<Uuid>, _>>()?;
        let entry = Entry::new("booking.view", "booking").ids(ids.iter().copied());
        tx.finish(entry).await.map(drop)?;
        Ok(ids)
    }

    /// Does what is due with one booking, if it still is.
    ///
    /// # Errors
    /// Conflict, when somebody changed it at the same moment.
    pub(crate) async fn work(self, tx: TenantTx, desk: &Desk, id: Uuid) -> Result<(), Fault> {
        match self {
            Self::Holds => expire(tx, desk, id).await,
            Self::Challenges => lapse(tx, desk, id).await,
        }
    }
}

async fn expire(mut tx: TenantTx, desk: &Desk, id: Uuid) -> Result<(), Fault> {
    let granted = tx.grant::<Expire, Booking>(id).await?;
    let content = &granted.row().content;
    let is_due = content.state == State::Hold
        && content.archived_at.is_none()
        && content.expires_at.is_some_and(|at| at <= desk.clock.now());
    if !is_due {
        return nothing(tx, id).await;
    }
    let said = Said {
        reason: Some("the hold ran out".to_owned()),
        payable: None,
    };
    let spent = take(&mut tx, desk, granted, Transition::Expire, said).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    tx.commit(entry).await.map(drop)
}

async fn lapse(mut tx: TenantTx, desk: &Desk, id: Uuid) -> Result<(), Fault> {
    let granted = tx.grant::<Lapse, Booking>(id).await?;
    let content = &granted.row().content;
    let asked = content.challenge.filter(|_| content.archived_at.is_none());
    let asked = asked.filter(|asked| asked.answer_by <= desk.clock.now());
    let Some(asked) = asked else {
        return nothing(tx, id).await;
    };
    lock(&mut tx, content.artist).await?;
    let spent = if stands(&mut tx, id, asked.by_booking_id).await? {
        let said = Said {
            reason: Some("the challenge was not answered".to_owned()),
            payable: None,
        };
        take(&mut tx, desk, granted, Transition::Lapse, said).await?
    } else {
        // Nobody asks any more: it stays.
        let mut content = granted.row().content.clone();
        content.challenge = None;
        content.reason = Some("the challenger is gone".to_owned());
        content.deed = Transition::Lapse.as_str().to_owned();
        write(&mut tx, granted, desk.clock.now(), &content).await?
    };
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    tx.commit(entry).await.map(drop)
}

/// Somebody was faster: that it was looked at is noted all the same.
async fn nothing(mut tx: TenantTx, id: Uuid) -> Result<(), Fault> {
    let granted = tx.grant::<View, Booking>(id).await?;
    tx.seen(granted)?;
    tx.finish(Entry::new("booking.view", "booking").ids([id]))
        .await
        .map(drop)
}
