//! Bookings as tables. A line has one window; its state is that in which a booking begins, and says nothing to one that is
//! there: that is what the actions are for.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Csv},
    argument::{Column, Lines, LinesFault, Query, TableLine},
};
use watertight_tenancy::{Given, Read, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{
    Booking, Transition,
    actions::{Edit, Import, View, ViewRate},
    acts::expect_next,
    content::{CREATE, Content, Flat, WRITE, content_columns, creation, parameters},
    handlers::New,
    time::{Before, Taking, refusals},
    when::DayPart,
};
use crate::{
    app::Desk,
    resources::{
        studio::settings::Settings,
        table::{self, Asked, AskedRows, ImportView, Reference, Table, Work},
    },
};

impl Table for Booking {
    type New = New;

    const COLUMNS: &'static [Column] = &[
        Column::new("reference", "/reference"),
        Column::new("artist", "/artist_id"),
        Column::new("project", "/project_id"),
        Column::new("title", "/title"),
        Column::new("state", "/state"),
        Column::new("kind", "/kind"),
        Column::new("starts_at", "/starts_at"),
        Column::new("ends_at", "/ends_at"),
        Column::new("from", "/from/date"),
        Column::new("from_part", "/from/part"),
        Column::new("to", "/to/date"),
        Column::new("to_part", "/to/part"),
        Column::new("rate_unit", "/rate/unit"),
        Column::new("rate_minor", "/rate/amount/minor"),
        Column::new("rate_currency", "/rate/amount/currency"),
        Column::new("notes", "/notes"),
    ];

    const BY_KEY: Read = Read::new(concat!(
        "SELECT ",
        super::booking_columns!(),
        ", NULL::integer AS rank FROM studio.bookings WHERE tenant_id = $1 AND reference = ANY ($2)"
    ));

    const BY_ORDER: Read = Read::new(concat!(
        "SELECT ",
        super::booking_columns!(),
        ", NULL::integer AS rank FROM studio.bookings WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2)
           AND archived_at IS NULL AND ($3::text IS NULL OR reference >= $3) ORDER BY reference LIMIT $4"
    ));

    fn key(&self) -> &str {
        &self.reference
    }

    fn archived_at(&self) -> Option<Timestamp> {
        self.content.archived_at
    }
}

const ARTISTS: Read = Read::new(
    "SELECT id, reference AS name FROM studio.artists WHERE tenant_id = $1 AND reference = ANY ($2) AND archived_at IS NULL",
);
const PROJECTS: Read = Read::new(
    "SELECT id, code AS name FROM studio.projects WHERE tenant_id = $1 AND code = ANY ($2) AND archived_at IS NULL",
);
const ARTIST_NAMES: Read = Read::new(
    "SELECT id, reference AS name FROM studio.artists WHERE tenant_id = $1 AND id = ANY ($2)",
);
const PROJECT_NAMES: Read = Read::new(
    "SELECT id, code AS name FROM studio.projects WHERE tenant_id = $1 AND id = ANY ($2)",
);

/// The lock before a change of the time of many artists, in the order of their ids.
const LOCK_ARTISTS: Read = Read::new(
    "SELECT id FROM studio.artists WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR NO KEY UPDATE",
);

/// What a line's booking shall say, with its reference where it is new.
struct Said {
    reference: String,
    content: Content,
}

/// What is told of a booking by a table, and may be changed by it.
impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (&self.content, &other.content);
        one.artist == other.artist
            && one.project == other.project
            && one.title == other.title
            && one.kind == other.kind
            && one.spell == other.spell
            && one.rate == other.rate
            && one.notes == other.notes
    }
}

impl Said {
    fn of(booking: &Booking) -> Self {
        Self {
            reference: booking.reference.clone(),
            content: booking.content.clone(),
        }
    }

    /// What the booking says once the line was put over it: what the table has no column for is as it was.
    fn over(self, before: &Booking, lines: &Lines) -> Self {
        let mut content = before.content.clone();
        let given = self.content;
        content.artist = given.artist;
        content.project = given.project;
        // A window that is the same as before is the same in its days and slices too.
        let (was, is) = (&content.spell, &given.spell);
        let is_same = if was.days.is_some() {
            was.days == is.days
        } else {
            (was.starts_at, was.ends_at) == (is.starts_at, is.ends_at)
        };
        if !is_same {
            content.spell = given.spell;
        }
        if lines.has("title") {
            content.title = given.title;
        }
        if ["rate_unit", "rate_minor", "rate_currency"]
            .iter()
            .any(|column| lines.has(column))
        {
            content.rate = given.rate;
        }
        if lines.has("kind") {
            content.kind = given.kind;
        }
        if lines.has("notes") {
            content.notes = given.notes;
        }
        Self {
            reference: self.reference,
            content,
        }
    }
}

/// What refuses a change of a booking that is there.
fn expect_changeable(before: &Booking, then: &Content) -> Result<(), Fault> {
    expect_next(before, Transition::Change)?;
    match before.content.state.blocks() && before.content.rate != then.rate {
        true => Err(super::handlers::rate_is_fixed()),
        false => Ok(()),
    }
}

/// What is looked at once all lines were read: whose time is taken, and by which line.
#[derive(Default)]
struct Times {
    takings: Vec<Taking>,
    lines: Vec<u64>,
    artists: BTreeSet<Uuid>,
}

impl Times {
    fn note(&mut self, line: &TableLine<'_>, own: Uuid, before: Option<&Booking>, then: &Content) {
        let was = before.map(|booking| &booking.content);
        if was.is_some_and(|was| (was.artist, &was.spell) == (then.artist, &then.spell)) {
            return;
        }
        self.artists.insert(then.artist);
        self.artists.extend(was.map(|was| was.artist));
        if then.state.blocks() {
            self.lines.push(line.number());
            self.takings.push(Taking {
                artist: then.artist,
                spell: then.spell.clone(),
                own,
                before: before.map_or(Before::AnyOption, |booking| {
                    Before::OptionsOlderThan(booking.created_at)
                }),
            });
        }
    }

    /// What stands against the lines: what is booked already, and lines of the same table.
    async fn conflicts(&self, tx: &mut TenantTx) -> Result<Vec<LinesFault>, Fault> {
        let refused = refusals(tx, &self.takings).await?;
        let told = self
            .lines
            .iter()
            .zip(refused)
            .filter_map(|(line, refused)| {
                refused.map(|fault| conflict(*line, fault.slug(), fault.spoken()))
            });
        Ok(told.chain(self.among_themselves()).collect())
    }

    fn among_themselves(&self) -> Vec<LinesFault> {
        let mut by_artist: HashMap<Uuid, Vec<(Timestamp, Timestamp, u64)>> = HashMap::new();
        for (taking, line) in self.takings.iter().zip(&self.lines) {
            let slices = taking.spell.starts.iter().zip(&taking.spell.ends);
            let windows = by_artist.entry(taking.artist).or_default();
            windows.extend(slices.map(|(starts, ends)| (*starts, *ends, *line)));
        }
        let mut faults = Vec::new();
        for windows in by_artist.values_mut() {
            windows.sort_unstable();
            let mut last: Option<(Timestamp, u64)> = None;
            for (starts, ends, line) in windows.iter().copied() {
                if let Some((until, other)) = last
                    && starts < until
                {
                    let detail = format!("the artist is booked in that time by line {other}");
                    faults.push(conflict(
                        line,
                        crate::problems::DOUBLE_BOOKING.slug(),
                        &detail,
                    ));
                }
                last = last.max(Some((ends, line)));
            }
        }
        faults
    }
}

fn conflict(line: u64, code: &'static str, detail: &str) -> LinesFault {
    LinesFault {
        line,
        column: None,
        code,
        detail: detail.to_owned(),
    }
}

pub(super) async fn import(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
    lines: Lines,
) -> Result<Answer<ImportView>, Fault> {
    let granted = tx.grant_new::<Import, Booking>()?;
    let settings = Settings::of(&mut tx).await?;
    let references = [
        Reference::of(&mut tx, &lines, "artist", ARTISTS).await?,
        Reference::of(&mut tx, &lines, "project", PROJECTS).await?,
    ];
    let mut work = Work::<Edit, Booking, Said>::default();
    let mut times = Times::default();
    let mut now = desk.clock.now();
    for item in table::read::<Edit, Booking>(&mut tx, &lines, &references, &mut work.faults).await?
    {
        let (id, line) = (desk.random.uuid(), item.line);
        let before = item.row.as_ref().map(|granted| granted.row());
        let said = match item.new.content(&settings, now) {
            Ok((reference, content)) => Said {
                reference: reference.unwrap_or_default(),
                content,
            },
            Err(fault) => {
                let fields = fault.field_faults().iter().cloned();
                work.faults
                    .extend(fields.map(|field| line.fault(Booking::COLUMNS, field)));
                continue;
            }
        };
        let then = match before {
            Some(before) => said.over(before, &lines),
            None => said,
        };
        let is = before.map(Said::of);
        if let Some(before) = before
            && is.as_ref() != Some(&then)
            && let Err(fault) = expect_changeable(before, &then.content)
        {
            work.faults
                .push(conflict(line.number(), fault.slug(), fault.spoken()));
            continue;
        }
        times.note(
            &line,
            before.map_or(id, |before| before.id),
            before,
            &then.content,
        );
        work.take(item.row, id, is.as_ref(), then);
    }
    if !asked.plan {
        work.expect_faultless()?;
        let artists: Vec<Uuid> = times.artists.iter().copied().collect();
        tx.read(LOCK_ARTISTS, &[&artists]).await?;
        // After the lock: options are ranked by the order in which they came.
        now = desk.clock.now();
    }
    work.faults.extend(times.conflicts(&mut tx).await?);
    let view = work.view(asked.plan, &lines);
    if asked.plan {
        return table::planned(tx, view, Entry::new("booking.import", "booking")).await;
    }
    work.expect_faultless()?;
    let ids = work.begin(&mut tx, &desk);
    let flats: Vec<Flat<'_>> = work
        .made
        .iter()
        .map(|(_, said)| said.content.flat())
        .collect();
    let made: Vec<Given<'_>> = work
        .made
        .iter()
        .zip(&flats)
        .map(|((id, said), flat)| creation(id, &now, &said.reference, &said.content, flat, &now))
        .collect();
    let spent = tx.create_each(granted, CREATE, &made).await?;
    let (changed, mut said): (Vec<_>, Vec<_>) = work.changed.into_iter().unzip();
    for said in &mut said {
        said.content.reason = None;
        said.content.deed = Transition::Change.as_str().to_owned();
    }
    let flats: Vec<Flat<'_>> = said.iter().map(|said| said.content.flat()).collect();
    let rows = said
        .iter()
        .zip(&flats)
        .map(|(said, flat)| parameters(&[&now], &said.content, flat));
    let rows = changed.into_iter().zip(rows).collect();
    tx.change_each(WRITE, rows).await?;
    table::done(tx, view, &spent, ids).await
}

pub(super) async fn export(
    mut tx: TenantTx,
    Query(asked): Query<AskedRows>,
) -> Result<Answer<Csv>, Fault> {
    let bookings = table::rows::<View, Booking>(&mut tx, &asked).await?;
    let artists: HashSet<Uuid> = bookings
        .iter()
        .map(|booking| booking.content.artist)
        .collect();
    let projects: HashSet<Uuid> = bookings
        .iter()
        .map(|booking| booking.content.project)
        .collect();
    let artists = table::names(&mut tx, ARTIST_NAMES, &artists).await?;
    let projects = table::names(&mut tx, PROJECT_NAMES, &projects).await?;
    table::answer::<View, Booking>(tx, &bookings, |booking, tx| {
        let content = &booking.content;
        let name = |names: &HashMap<Uuid, String>, id| names.get(id).cloned().unwrap_or_default();
        let (starts_at, ends_at) = match content.spell.days {
            Some(_) => (String::new(), String::new()),
            None => (
                content.spell.starts_at.to_string(),
                content.spell.ends_at.to_string(),
            ),
        };
        let (from, to) = content.spell.days.unzip();
        let (from, from_part) = day(from);
        let (to, to_part) = day(to);
        let rate = content
            .rate
            .as_ref()
            .filter(|_| tx.allows::<ViewRate, Booking>(booking));
        let [unit, minor, currency] = rate.map(super::content::Rate::texts).unwrap_or_default();
        vec![
            booking.reference.clone(),
            name(&artists, &content.artist),
            name(&projects, &content.project),
            content.title.clone(),
            content.state.as_str().to_owned(),
            content.kind.as_str().to_owned(),
            starts_at,
            ends_at,
            from,
            from_part,
            to,
            to_part,
            unit,
            minor,
            currency,
            content.notes.clone(),
        ]
    })
    .await
}

/// A day and its part, as cells.
fn day(day: Option<DayPart>) -> (String, String) {
    let part = day
        .and_then(|day| day.part)
        .map(|part| part.as_str().to_owned());
    (
        day.map(|day| day.date.to_string()).unwrap_or_default(),
        part.unwrap_or_default(),
    )
}
