//! Who is free: of artists that are named, or of all that have the skills.
//!
//! In the window that is asked for an artist is *busy* when no stretch of `min_minutes` is left by what
//! blocks (confirmed bookings, time off), *contended* when one is left but options or holds lie over it,
//! and *free* otherwise. Without `min_minutes` the stretch is the whole window.

use std::collections::HashMap;

use garde::Validate;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{Id, Instant, Line, Valid},
};
use watertight_authority::Resource;
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, FieldFault};

use super::{
    State,
    when::{DayPart, Given, Slice, Spell},
};
use crate::resources::{
    artists::{Artist, actions::View},
    holidays,
    page::wrong_field,
    studio::settings::Settings,
};

/// How far ahead the next free stretches are looked for.
const HORIZON: SignedDuration = SignedDuration::from_hours(90 * 24);
/// At most so many artists at once.
const ARTISTS_MOST: i64 = 200;

/// Of whom, when, and how long.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(length(min = 1, max = 200))]
    artist_ids: Option<Vec<Id>>,
    #[garde(length(min = 1, max = 10), dive)]
    skills: Option<Vec<Line<64>>>,
    #[garde(skip)]
    window: Window,
    #[garde(range(min = 1, max = 1_054_080))]
    min_minutes: Option<i32>,
}

/// From an instant to another, or by days.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Window {
    starts_at: Option<Instant>,
    ends_at: Option<Instant>,
    from: Option<DayPart>,
    to: Option<DayPart>,
}

impl Window {
    fn spell(self, settings: &Settings) -> Result<Spell, Fault> {
        let given = Given {
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            from: self.from,
            to: self.to,
            slices: None,
        };
        given.spell(settings).map_err(|fault| {
            let fields = fault.field_faults().iter().cloned();
            let under = fields.map(|field| FieldFault {
                pointer: format!("/window{}", field.pointer),
                ..field
            });
            let under = under.collect();
            fault.fields(under)
        })
    }
}

/// The artists that the caller may see: `$3` those named, or `$4` those who have all the skills. `$2` the
/// artist alone that the caller may see.
const ARTISTS: Read = Read::new(
    "SELECT a.* FROM studio.artists a WHERE a.tenant_id = $1 AND ($2::uuid IS NULL OR a.id = $2)
       AND a.archived_at IS NULL AND ($3::uuid[] IS NULL OR a.id = ANY ($3)) AND ($4::text[] IS NULL OR a.skills @> $4)
     ORDER BY a.name, a.id LIMIT $5",
);

/// The time of many artists in one statement. `$2` the artists, `$3` and `$4` the window, `$5` the shortest
/// stretch in seconds, `$6` and `$7` when work is done, `$8` how far that is looked at, `$9` the artist of whom `$6` and
/// `$7` are: null where of all that have none of their own.
///
/// An artist's rows are found by the index (tenant, artist, start), both ends of it bounded; what is free
/// is what is left of the window when they are taken from it. At most twenty options of an artist are told.
const AVAILABILITY: Read = Read::new(
    "SELECT * FROM (WITH asked AS (SELECT id, place FROM unnest($2::uuid[]) WITH ORDINALITY a (id, place)),
       wanted AS MATERIALIZED (SELECT asked.id AS artist_id, option.* FROM asked CROSS JOIN LATERAL (
         SELECT DISTINCT o.since, o.source_id, o.state FROM studio.occupancy o
           WHERE o.tenant_id = $1 AND o.artist_id = asked.id AND NOT o.blocks
             AND o.starts_at < $4 AND o.starts_at > $3::timestamptz - interval '732 days' AND o.ends_at > $3
           ORDER BY o.since, o.source_id LIMIT 20) option),
       contended AS (SELECT wanted.artist_id, jsonb_agg(jsonb_build_object('booking_id', source_id, 'state', state, 'rank', rank)
           ORDER BY since, source_id) AS by FROM wanted
         LEFT JOIN studio.ranks_of($1, ARRAY(SELECT source_id FROM wanted WHERE state = 'pencil')) ON booking = source_id
         GROUP BY wanted.artist_id),
       work AS MATERIALIZED (SELECT own, range_agg(tstzrange(f, t)) AS hours
         FROM unnest($9::uuid[], $6::timestamptz[], $7::timestamptz[]) h (own, f, t) GROUP BY own)
     SELECT asked.place, asked.id AS artist_id, coalesce(contended.by, '[]') AS contended_by,
       (SELECT coalesce(max(upper(s) - lower(s)) >= make_interval(secs => $5), false)
          FROM unnest(tstzmultirange(tstzrange($3::timestamptz, $4::timestamptz)) - own.taken) s) AS is_open,
       (SELECT coalesce(max(upper(s) - lower(s)) >= make_interval(secs => $5), false)
          FROM unnest(tstzmultirange(tstzrange($3::timestamptz, $4::timestamptz)) - own.taken - own.wanted) s) AS is_free,
       ARRAY(SELECT lower(s) FROM unnest(work.hours - own.taken) s
          WHERE upper(s) - lower(s) >= make_interval(secs => $5) ORDER BY s LIMIT 3) AS free_starts,
       ARRAY(SELECT upper(s) FROM unnest(work.hours - own.taken) s
          WHERE upper(s) - lower(s) >= make_interval(secs => $5) ORDER BY s LIMIT 3) AS free_ends
     FROM asked CROSS JOIN LATERAL (SELECT w.hours FROM work w WHERE w.own = asked.id OR w.own IS NULL
         ORDER BY w.own NULLS LAST LIMIT 1) work LEFT JOIN contended ON contended.artist_id = asked.id
     CROSS JOIN LATERAL (SELECT coalesce(range_agg(o.slice) FILTER (WHERE o.blocks), '{}') AS taken,
         coalesce(range_agg(o.slice) FILTER (WHERE NOT o.blocks), '{}') AS wanted
       FROM studio.occupancy o WHERE o.tenant_id = $1 AND o.artist_id = asked.id
         AND o.starts_at < $8 AND o.starts_at > $3::timestamptz - interval '732 days' AND o.ends_at > $3) own
     ) available ORDER BY place",
);

/// An artist's time, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Availability")]
struct AvailabilityView {
    artist_id: Uuid,
    status: Status,
    contended_by: Vec<Contender>,
    next_free: Vec<Slice>,
}

/// What is left of the window.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Status {
    Free,
    Contended,
    Busy,
}

/// A hold or an option that lies over the window.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Contender {
    booking_id: Uuid,
    state: State,
    rank: Option<i32>,
}

impl AvailabilityView {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        let status = match (row.field("is_open")?, row.field("is_free")?) {
            (false, _) => Status::Busy,
            (true, false) => Status::Contended,
            (true, true) => Status::Free,
        };
        let (starts, ends): (Vec<Timestamp>, Vec<Timestamp>) =
            (row.field("free_starts")?, row.field("free_ends")?);
        let free = starts.into_iter().zip(ends);
        Ok(Self {
            artist_id: row.field("artist_id")?,
            status,
            contended_by: serde_json::from_value(row.field("contended_by")?)
                .map_err(|error| Fault::bug(format!("who contends: {error}")))?,
            next_free: free
                .map(|(starts_at, ends_at)| Slice {
                    starts_at: starts_at.into(),
                    ends_at: ends_at.into(),
                })
                .collect(),
        })
    }
}

/// One entry an artist that was asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Availabilities")]
pub(super) struct Availabilities {
    items: Vec<AvailabilityView>,
}

pub(super) async fn check(
    mut tx: TenantTx,
    Valid(asked): Valid<Asked>,
) -> Result<Answer<Availabilities>, Fault> {
    let settings = Settings::of(&mut tx).await?;
    let window = asked.window.spell(&settings)?;
    let artists = artists(&mut tx, asked.artist_ids, asked.skills).await?;
    let (from, to) = (window.starts_at, window.ends_at);
    let far = from
        .checked_add(HORIZON)
        .map_err(|error| Fault::bug(format!("a horizon: {error}")))?
        .max(to);
    let whole_s = to.duration_since(from).as_secs_f64();
    let least_s = asked
        .min_minutes
        .map_or(whole_s, |minutes| f64::from(minutes) * 60.0);
    let work = Work::of(&mut tx, &settings, &artists, from, far).await?;
    let artists: Vec<Uuid> = artists.iter().map(Resource::id).collect();
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &artists,
        &from,
        &to,
        &least_s,
        &work.starts,
        &work.ends,
        &far,
        &work.own,
    ];
    let rows = tx.read(AVAILABILITY, &parameters).await?;
    let items = rows
        .iter()
        .map(AvailabilityView::from_row)
        .collect::<Result<_, _>>()?;
    let entry = Entry::new("booking.view", "booking").ids(artists);
    Draft::ok(Availabilities { items })?.finish(tx, entry).await
}

/// When work is done: stretches, and of whom they are.
#[derive(Default)]
struct Work {
    own: Vec<Option<Uuid>>,
    starts: Vec<Timestamp>,
    ends: Vec<Timestamp>,
}

impl Work {
    async fn of(
        tx: &mut TenantTx,
        settings: &Settings,
        artists: &[Artist],
        from: Timestamp,
        far: Timestamp,
    ) -> Result<Self, Fault> {
        let (first, last) = settings.days(from, far);
        let holidays = holidays::between(tx, first, last).await?;
        let mut work = Self::default();
        work.add(
            None,
            settings.calendar(None, &holidays)?.stretches(from, far)?,
            from,
        );
        for artist in artists {
            if let Some(hours) = artist.hours() {
                let stretches = settings
                    .calendar(Some(hours), &holidays)?
                    .stretches(from, far)?;
                work.add(Some(artist.id()), stretches, from);
            }
        }
        Ok(work)
    }

    fn add(
        &mut self,
        of: Option<Uuid>,
        (starts, ends): (Vec<Timestamp>, Vec<Timestamp>),
        from: Timestamp,
    ) {
        // An empty stretch for whoever has none: it says that these are their hours.
        self.own.extend(std::iter::repeat_n(of, starts.len() + 1));
        self.starts.extend(std::iter::once(from).chain(starts));
        self.ends.extend(std::iter::once(from).chain(ends));
    }
}

/// The artists that are meant: as they were named, or by name.
async fn artists(
    tx: &mut TenantTx,
    ids: Option<Vec<Id>>,
    skills: Option<Vec<Line<64>>>,
) -> Result<Vec<Artist>, Fault> {
    if ids.is_some() == skills.is_some() {
        let detail = "give either `artist_ids` or `skills`";
        return Err(wrong_field("/artist_ids", "required", detail));
    }
    let ids: Option<Vec<Uuid>> = ids.map(|ids| ids.into_iter().map(|Id(id)| id).collect());
    let skills: Option<Vec<String>> =
        skills.map(|skills| skills.into_iter().map(Line::into_inner).collect());
    let parameters: [&(dyn ToSql + Sync); 3] = [&ids, &skills, &ARTISTS_MOST];
    let seen = tx.page::<View, Artist>(ARTISTS, &parameters).await?;
    let Some(ids) = ids else { return Ok(seen) };
    let places = ids.iter().enumerate().rev().map(|(place, id)| (*id, place));
    let first: HashMap<Uuid, usize> = places.collect();
    if let Some(place) = ids
        .iter()
        .position(|id| !seen.iter().any(|artist| artist.id() == *id))
    {
        let detail = "names no artist that you may book";
        return Err(wrong_field(
            &format!("/artist_ids/{place}"),
            "unknown-reference",
            detail,
        ));
    }
    // In the order in which they were named, each once.
    let mut seen = seen;
    seen.sort_by_key(|artist| first.get(&artist.id()).copied());
    Ok(seen)
}
