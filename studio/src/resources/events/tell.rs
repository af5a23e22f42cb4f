//! A stream, from its opening to its end.

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft, Events},
    argument::LastEventId,
    door::Lasting,
};
use watertight_authority::{Action, Fact, Principal, Resource};
use watertight_identity::Who;
use watertight_tenancy::{GateCall, Read, Row, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, TenantId};

use super::{Event, actions::Open, streams::Place};
use crate::app::Desk;

/// A stream lasts so long; connections last a little longer.
const LIFE: Duration = Duration::from_secs(240);
/// It looks so often for what is new, and whether it may go on.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks without anything new it says that it is still there.
const QUIET_LOOKS: u32 = 10;
/// So many looks may come to nothing, one after the other.
const FAILURES_MOST: u32 = 3;
/// At most so many versions are told at a look.
const VERSIONS_MOST: i32 = 100;
/// A client that leaves so many tellings untaken, for so long, is cut off.
const TELLINGS_MOST: usize = 8;
const TAKE: Duration = Duration::from_secs(10);

/// Whether the caller may still be told, and whether there is something to tell.
const STANDS: GateCall =
    GateCall::new("SELECT stands, waiting FROM studio.stream_stands($1)", "e1");

const LAST: Read =
    Read::new("SELECT known, last FROM studio.last_version($2) WHERE tenant_id = $1");

/// `$2` the artist of whose bookings alone the caller is told, `$3` the version after which, `$4` how many.
const AFTER: Read = Read::new(
    "SELECT tenant_id, id, artist_id, booking_id, version, deed
     FROM studio.versions_after($3, $4) WITH ORDINALITY v (tenant_id, id, artist_id, booking_id, version, deed, place)
     WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2) ORDER BY place",
);

/// A version of a booking, as it is told. To policies it is what every booking is.
#[derive(Debug)]
struct Told {
    tenant: TenantId,
    /// The booking's.
    id: Uuid,
    /// The version's, by which streams go on.
    place: Uuid,
    artist: Uuid,
    version: i32,
    deed: String,
}

impl Resource for Told {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";

    fn id(&self) -> Uuid {
        self.id
    }

    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![("artist", Fact::Is("Artist", self.artist))]
    }
}

/// `booking.view`, of what is told.
struct ViewTold;

impl Action<Told> for ViewTold {
    const NAME: &'static str = "booking.view";
}

impl Stored for Told {
    const LOAD: Read = Read::new(
        "SELECT tenant_id, id, artist_id, id AS booking_id, version, deed FROM studio.bookings
         WHERE tenant_id = $1 AND id = $2",
    );

    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("booking_id")?,
            place: row.field("id")?,
            artist: row.field("artist_id")?,
            version: row.field("version")?,
            deed: row.field("deed")?,
        })
    }
}

pub(super) async fn open(
    mut tx: TenantTx,
    desk: Desk,
    lasting: Lasting,
    asked: LastEventId,
) -> Result<Answer<Events>, Fault> {
    let _granted = tx.grant_new::<Open, Event>()?;
    let Principal::Member { id: member, .. } = tx.standing().principal else {
        return Err(Fault::not_allowed());
    };
    let place = desk.streams.take(tx.tenant(), member)?;
    let wanted = match asked {
        LastEventId::Id(id) => id,
        LastEventId::None | LastEventId::Unreadable => Uuid::nil(),
    };
    let rows = tx.read(LAST, &[&wanted]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| Fault::bug("a studio without a last version"))?;
    let (known, last): (bool, Uuid) = (row.field("known")?, row.field("last")?);
    let (after, kind) = match asked {
        LastEventId::None => (last, "open"),
        LastEventId::Id(id) if known => (id, "open"),
        LastEventId::Id(_) | LastEventId::Unreadable => (last, "reset"),
    };
    let (sender, mut receiver) = mpsc::channel(TELLINGS_MOST);
    let body = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let entry = Entry::new("event.open", "event");
    let answer = Draft::events(body).finish(tx, entry).await?;
    let stream = Stream {
        desk,
        lasting,
        after,
        imports: Vec::new(),
        place,
    };
    // Only now: nothing is told before the entry of the opening is durable.
    tokio::spawn(stream.run(kind, sender));
    Ok(answer)
}

/// A stream that is open.
struct Stream {
    desk: Desk,
    lasting: Lasting,
    /// The version that was told last.
    after: Uuid,
    /// How far the own imports were at the last look.
    imports: Vec<(&'static str, usize, usize)>,
    place: Place,
}

impl Stream {
    async fn run(mut self, kind: &str, sender: mpsc::Sender<Bytes>) {
        let first = format!("retry: 2000\n{}", event(self.after, kind, &json!({})));
        if take(&sender, first).await.is_none() {
            return;
        }
        let streams = self.desk.streams.clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut life = std::pin::pin!(sleep(LIFE));
        let mut ended = std::pin::pin!(streams.ended());
        let (mut quiet, mut failures) = (0, 0);
        loop {
            tokio::select! {
                () = &mut life => break,
                () = &mut ended => break,
                () = sender.closed() => break,
                _ = looks.tick() => {}
            }
            let text = match self.look().await {
                Ok(Some(text)) => text,
                Ok(None) => break,
                Err(fault) if fault.kind() == Kind::Unavailable && failures < FAILURES_MOST => {
                    failures += 1;
                    continue;
                }
                Err(fault) => {
                    tracing::info!("a stream ends: {fault}");
                    break;
                }
            };
            failures = 0;
            quiet = if text.is_empty() { quiet + 1 } else { 0 };
            let text = match (text.is_empty(), quiet) {
                (false, _) => text,
                (true, QUIET_LOOKS..) => ": still here\n\n".to_owned(),
                (true, _) => continue,
            };
            quiet = 0;
            if take(&sender, text).await.is_none() {
                break;
            }
        }
    }

    /// What is new, as it is told; none when the caller may be told no more.
    async fn look(&mut self) -> Result<Option<String>, Fault> {
        let (stands, waiting) = self.stands().await?;
        if !stands {
            return Ok(None);
        }
        let told = if waiting {
            self.read().await?
        } else {
            Vec::new()
        };
        let mut text = String::new();
        for one in told {
            let data = json!({
                "type": format!("booking.{}", one.deed), "booking_id": one.id, "version": one.version,
            });
            let _ = write!(text, "{}", event(one.place, "booking", &data));
            self.after = one.place;
        }
        text += &self.imports();
        Ok(Some(text))
    }

    /// How far the own imports are, where that is news.
    fn imports(&mut self) -> String {
        let now = self.desk.imports.of(self.place.tenant, self.place.member);
        let mut text = String::new();
        for import in &now {
            if !self.imports.contains(import) {
                let (noun, done, total) = import;
                let data =
                    json!({ "type": format!("{noun}.import"), "done": done, "total": total });
                let _ = write!(text, "{}", event(self.after, "import", &data));
            }
        }
        self.imports = now;
        text
    }

    async fn stands(&self) -> Result<(bool, bool), Fault> {
        let Who::Member(member) = self.lasting.caller().who() else {
            return Ok((false, false));
        };
        let (role, issued_s) = (
            member.claimed_role().to_string(),
            member.issued_at_s().to_string(),
        );
        let after = self.after.to_string();
        let fields = [
            member.organization().as_str(),
            member.subject().as_str(),
            member.session().as_str(),
            &role,
            &issued_s,
            &after,
        ];
        let rows = self.desk.people.tenancy.ask_gate(STANDS, &fields).await?;
        match rows.first() {
            Some(row) => Ok((row.field("stands")?, row.field("waiting")?)),
            None => Ok((false, false)),
        }
    }

    /// The next versions, read as every request reads: by the policies and the walls, with an entry.
    async fn read(&self) -> Result<Vec<Told>, Fault> {
        let after = self.after;
        let read = async |mut tx: TenantTx| {
            let parameters: [&(dyn ToSql + Sync); 2] = [&after, &VERSIONS_MOST];
            let told = tx.page::<ViewTold, Told>(AFTER, &parameters).await?;
            let ids = told.iter().map(|one| one.id);
            let entry = Entry::new("event.read", "event").ids(ids);
            tx.finish(entry).await.map(drop)?;
            Ok(told)
        };
        let (id, at) = (self.desk.random.uuid(), self.desk.clock.now());
        self.lasting
            .work((id, at), "event.read", "event", read)
            .await
    }
}

/// Hands it to the client, as soon as there is room; none when it does not take it, or has gone.
async fn take(sender: &mpsc::Sender<Bytes>, text: String) -> Option<()> {
    sender.send_timeout(text.into(), TAKE).await.ok()
}

fn event(id: Uuid, kind: &str, data: &serde_json::Value) -> String {
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}
