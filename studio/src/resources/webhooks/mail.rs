//! A telling to a member: a mail, of what happened to the time that is theirs and where to look. What it is
//! called, for whom it is and what it pays stays here.

use jiff::{Timestamp, tz::TimeZone};
use uuid::Uuid;
use watertight_outbound::mail::Mail;
use watertight_tenancy::{Read, TenantTx};
use watertight_terms::Fault;

use super::tell::{Outcome, Version};
use crate::{
    app::Desk,
    resources::{
        alerts::Told,
        incidents::Notice,
        members::{Member, actions::ViewContact},
    },
};

/// A member who is told by mail.
const MAILED: Read = Read::new(
    "SELECT id FROM tenancy.members WHERE tenant_id = $1 AND id = $2 AND mails AND state = 'active'
       AND NOT provider_removed",
);

/// The same, whatever mails they want: of an incident they must be told.
const TOLD: Read = Read::new(
    "SELECT id FROM tenancy.members WHERE tenant_id = $1 AND id = $2 AND state = 'active' AND NOT provider_removed",
);

/// The mail of a delivery to a member; none when they are not told any more, or there is no relay.
pub(super) async fn to(
    tx: &mut TenantTx,
    desk: &Desk,
    (delivery, member): (Uuid, Uuid),
    told: &Version,
) -> Result<Option<Mail>, Fault> {
    let Some(to) = address(tx, desk, member, MAILED).await? else {
        return Ok(None);
    };
    let (studio, zone) = tx.studio();
    let zone = TimeZone::get(zone).map_err(|error| Fault::bug(format!("a zone: {error}")))?;
    let origin = &desk.origin;
    Ok(Some(Mail {
        id: id(origin, delivery),
        at: told.at.into(),
        to,
        subject: format!("{studio}: {}", happened(told)),
        text: format!(
            "{}.\n\nfrom {}\nto   {}\n\n{origin}/ui/bookings/{}\n\n-- \nYou are told of bookings of your time. \
             Switch it off with PATCH /v1/me/mails.\n",
            happened(told),
            written(told.starts_at, &zone),
            written(told.ends_at, &zone),
            told.booking
        ),
    }))
}

/// The mail to an owner about an alert: what it is and what to do, and nobody's name.
pub(super) async fn of_alert(
    tx: &mut TenantTx,
    desk: &Desk,
    (delivery, member): (Uuid, Uuid),
    told: &Told,
) -> Result<Option<Mail>, Fault> {
    let Some(to) = address(tx, desk, member, MAILED).await? else {
        return Ok(None);
    };
    let (studio, _) = tx.studio();
    let origin = &desk.origin;
    let (kind, severity) = (told.kind.as_str(), told.severity.as_str());
    Ok(Some(Mail {
        id: id(origin, delivery),
        at: told.opened_at.into(),
        to,
        subject: format!("{studio}: something looks wrong ({kind}, {severity})"),
        text: format!(
            "Something looks wrong: {kind} ({severity}).\n\nWhat to do: {}.\n\n{origin}/ui/audit\n\n-- \n\
             You are told as an owner of the studio; whom it is about and what shows it says GET /v1/alerts/{}.\n\
             Switch mails off with PATCH /v1/me/mails.\n",
            told.kind.advice(),
            told.id
        ),
    }))
}

/// The mail to whoever is told of an incident: what was written, to the letter.
pub(super) async fn of_notice(
    tx: &mut TenantTx,
    desk: &Desk,
    (delivery, member): (Uuid, Uuid),
    told: Notice,
) -> Result<Option<Mail>, Fault> {
    let Some(to) = address(tx, desk, member, TOLD).await? else {
        return Ok(None);
    };
    let (studio, _) = tx.studio();
    Ok(Some(Mail {
        id: id(&desk.origin, delivery),
        at: told.at.into(),
        to,
        subject: format!("{studio}: {}", told.subject),
        text: told.text,
    }))
}

/// Where a member is told by mail; none when it is none of `who`, or there is no relay.
async fn address(
    tx: &mut TenantTx,
    desk: &Desk,
    member: Uuid,
    who: Read,
) -> Result<Option<String>, Fault> {
    let mailed = tx.read(who, &[&member]).await?;
    if desk.relay.is_none() || mailed.is_empty() {
        return Ok(None);
    }
    let granted = tx.grant::<ViewContact, Member>(member).await?;
    let member = tx.seen(granted)?;
    let address = member.address(tx, &desk.vault).await?;
    Ok(address.map(|address| address.expose().to_owned()))
}

/// The delivery's, so that whoever is told twice knows it by that.
pub(crate) fn id(origin: &str, delivery: Uuid) -> String {
    let host = origin.split("://").last().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    format!("{delivery}@{host}")
}

fn happened(told: &Version) -> &'static str {
    match told.deed.as_str() {
        "create" | "confirm" => "a booking of yours is confirmed",
        "change" | "undo" => "a booking of yours was changed",
        "challenge" => "an option on your time was challenged",
        "release" | "expire" | "lapse" => "an option on your time was released",
        _ => "a booking of yours was called off",
    }
}

fn written(instant: Timestamp, zone: &TimeZone) -> String {
    let local = instant.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// Hands it to the relay.
pub(crate) async fn send(desk: &Desk, mail: &Mail) -> Outcome {
    let Some(relay) = &desk.relay else {
        return Outcome::default();
    };
    match relay.send(mail).await {
        Ok(status) => Outcome {
            status: Some(status),
            is_final: false,
        },
        Err(untaken) => {
            tracing::info!(mail = mail.id, "{untaken}");
            Outcome {
                status: untaken.status,
                is_final: untaken.is_final,
            }
        }
    }
}
