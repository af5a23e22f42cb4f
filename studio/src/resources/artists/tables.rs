//! Artists as tables. Personal fields are in none: they are opened one artist at a time, each noted.

use jiff::Timestamp;
use serde_json::Value;
use watertight::{
    answer::{Answer, Csv},
    argument::{Column, Line, Lines, Prose, Query, Zone},
};
use watertight_tenancy::{Given, Read, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{
    Artist, CREATE, EDIT,
    actions::{Edit, Import, View},
    handlers::New,
};
use crate::{
    app::Desk,
    resources::{
        studio::settings::Week,
        table::{self, Asked, AskedRows, ImportView, Table, Work},
    },
};

impl Table for Artist {
    type New = New;

    const COLUMNS: &'static [Column] = &[
        Column::new("reference", "/reference"),
        Column::new("name", "/name"),
        Column::new("kind", "/kind"),
        Column::new("skills", "/skills/-"),
        Column::new("zone", "/zone"),
        Column::new("notes", "/notes"),
    ];

    const BY_KEY: Read = Read::new(concat!(
        "SELECT ",
        super::columns!(),
        " FROM studio.artists WHERE tenant_id = $1 AND reference = ANY ($2)"
    ));

    const BY_ORDER: Read = Read::new(concat!(
        "SELECT ",
        super::columns!(),
        " FROM studio.artists WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id = $2) AND archived_at IS NULL
           AND ($3::text IS NULL OR reference >= $3) ORDER BY reference LIMIT $4"
    ));

    fn key(&self) -> &str {
        &self.reference
    }

    fn archived_at(&self) -> Option<Timestamp> {
        self.archived_at
    }
}

/// What a table says of an artist.
#[derive(PartialEq)]
struct Said {
    reference: String,
    kind: String,
    name: String,
    skills: Vec<String>,
    zone: Option<String>,
    notes: String,
}

impl From<New> for Said {
    fn from(new: New) -> Self {
        Self {
            reference: new.reference.map(Line::into_inner).unwrap_or_default(),
            kind: new.kind.as_str().to_owned(),
            skills: new.skills.texts(),
            name: new.name.into_inner(),
            zone: new.zone.map(Zone::into_inner),
            notes: Prose::into_inner(new.notes),
        }
    }
}

impl From<&Artist> for Said {
    fn from(artist: &Artist) -> Self {
        Self {
            reference: artist.reference.clone(),
            kind: artist.kind.clone(),
            name: artist.name.clone(),
            skills: artist.skills.clone(),
            zone: artist.zone.clone(),
            notes: artist.notes.clone(),
        }
    }
}

impl Said {
    /// The same, but what the table has no column for is as it was.
    fn over(self, before: &Artist, lines: &Lines) -> Self {
        let before = Self::from(before);
        Self {
            reference: self.reference,
            name: self.name,
            kind: if lines.has("kind") {
                self.kind
            } else {
                before.kind
            },
            skills: if lines.has("skills") {
                self.skills
            } else {
                before.skills
            },
            zone: if lines.has("zone") {
                self.zone
            } else {
                before.zone
            },
            notes: if lines.has("notes") {
                self.notes
            } else {
                before.notes
            },
        }
    }
}

pub(super) async fn import(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
    lines: Lines,
) -> Result<Answer<ImportView>, Fault> {
    let granted = tx.grant_new::<Import, Artist>()?;
    let mut work = Work::<Edit, Artist, Said>::default();
    for item in table::read::<Edit, Artist>(&mut tx, &lines, &[], &mut work.faults).await? {
        let now = item.row.as_ref().map(|granted| Said::from(granted.row()));
        let mut then = Said::from(item.new);
        if let Some(granted) = &item.row {
            then = then.over(granted.row(), &lines);
        }
        work.take(item.row, desk.random.uuid(), now.as_ref(), then);
    }
    let view = work.view(asked.plan, &lines);
    if asked.plan {
        return table::planned(tx, view, Entry::new("artist.import", "artist")).await;
    }
    work.expect_faultless()?;
    let (ids, now) = (work.begin(&mut tx, &desk), desk.clock.now());
    let (nothing, no_hours): (Option<Vec<u8>>, Option<Value>) = (None, None);
    let made: Vec<Given<'_>> = work
        .made
        .iter()
        .map(|(id, said)| -> Given<'_> {
            vec![
                id,
                &now,
                &said.kind,
                &said.name,
                &said.skills,
                &said.zone,
                &said.notes,
                &nothing,
                &nothing,
                &nothing,
                &nothing,
                &nothing,
                &nothing,
                &said.reference,
                &no_hours,
            ]
        })
        .collect();
    let spent = tx.create_each(granted, CREATE, &made).await?;
    let (changed, said): (Vec<_>, Vec<_>) = work.changed.into_iter().unzip();
    let sealed: Vec<[Option<Vec<u8>>; 6]> = changed
        .iter()
        .map(|granted| {
            let fields = granted.row().personal.each_ref();
            fields.map(|sealed| sealed.as_ref().map(|kept| kept.as_stored().to_vec()))
        })
        .collect();
    let hours = changed
        .iter()
        .map(|granted| Week::as_column(granted.row().working_hours.as_ref()));
    let hours = hours.collect::<Result<Vec<_>, _>>()?;
    let rows = said
        .iter()
        .zip(&sealed)
        .zip(&hours)
        .map(|((said, sealed), hours)| {
            let ours: Given<'_> = vec![
                &now,
                &said.kind,
                &said.name,
                &said.skills,
                &said.zone,
                &said.notes,
            ];
            let kept = sealed.iter().map(|field| field as _);
            let hours: Given<'_> = vec![hours];
            ours.into_iter()
                .chain(kept)
                .chain(hours)
                .collect::<Given<'_>>()
        });
    let rows = changed.into_iter().zip(rows).collect();
    tx.change_each(EDIT, rows).await?;
    table::done(tx, view, &spent, ids).await
}

pub(super) async fn export(
    mut tx: TenantTx,
    Query(asked): Query<AskedRows>,
) -> Result<Answer<Csv>, Fault> {
    let artists = table::rows::<View, Artist>(&mut tx, &asked).await?;
    table::answer::<View, Artist>(tx, &artists, |artist, _| {
        let Said {
            reference,
            kind,
            name,
            skills,
            zone,
            notes,
        } = Said::from(artist);
        vec![
            reference,
            name,
            kind,
            skills.join(" "),
            zone.unwrap_or_default(),
            notes,
        ]
    })
    .await
}
