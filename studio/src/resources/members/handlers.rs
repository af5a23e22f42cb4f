use garde::Validate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{Field, IfMatch, Path, Query, Valid, line},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, Limits, Outcome, Role};

use super::{
    ADMIT, EDIT, INVITE, INVITED, LIST_BY_JOINING, LIST_BY_JOINING_DOWN, Member, REMOVE, State,
    TOTAL,
    actions::{Admit, Edit, Invite, Remove, View},
    view::MemberView,
};
use crate::{
    app::Desk,
    people::{EMAIL_CHARS, place},
    resources::page::{List, Page, expect_version, limit},
};

/// So many invitations of a studio may be open.
const INVITATIONS: i64 = 500;

/// Which members, in which order.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(length(bytes, max = Limits::CURSOR_BYTES))]
    cursor: Option<String>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort,
    #[garde(skip)]
    state: Option<State>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Sort {
    #[default]
    #[serde(rename = "joined_at")]
    Joining,
    #[serde(rename = "-joined_at")]
    JoiningDown,
}

impl Sort {
    fn statement(self) -> Read {
        match self {
            Self::Joining => LIST_BY_JOINING,
            Self::JoiningDown => LIST_BY_JOINING_DOWN,
        }
    }
}

/// A page, and how many there are on all of them.
#[derive(Serialize)]
struct Members {
    #[serde(flatten)]
    list: List<MemberView>,
    total: i64,
}

pub(super) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer, Fault> {
    let page = Page::new(
        format!("members {:?} {:?}", asked.sort, asked.state),
        asked.limit,
        asked.cursor.as_deref(),
        &desk.cursors,
        tx.tenant(),
    )?;
    let state = asked.state.map(State::as_str);
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&state, &page.after_value(), &page.after_id(), &limit(&page)];
    let members = tx
        .page::<View, Member>(asked.sort.statement(), &parameters)
        .await?;
    let total = count(&mut tx, TOTAL, "total", &[&None::<Uuid>, &state]).await?;
    let listed = members.into_iter().map(MemberView::listed).collect();
    let (list, ids) = page.cut(listed, MemberView::position, &desk.cursors, tx.tenant())?;
    let receipt = tx
        .finish(Entry::new("member.view", "member").ids(ids))
        .await?;
    Answer::ok(Members { list, total }, receipt)
}

pub(super) async fn show(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<View, Member>(id).await?;
    let member = tx.seen(granted)?;
    let version = member.version;
    let (view, opened) = MemberView::opened(member, &tx, &desk.vault)?;
    let entry = Entry::new("member.view", "member").ids([id]).opened(opened);
    let receipt = tx.finish(entry).await?;
    Ok(Answer::ok(view, receipt)?.etag(version))
}

/// Whom an owner invites, and as what at most.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Invited {
    #[garde(custom(line(EMAIL_CHARS)), custom(address))]
    email: String,
    #[garde(skip)]
    role: Role,
}

pub(super) async fn invite(
    mut tx: TenantTx,
    desk: Desk,
    Valid(invited): Valid<Invited>,
) -> Result<Answer, Fault> {
    let granted = tx.grant_new::<Invite, Member>()?;
    before_an_owner(&tx, &desk, invited.role)?;
    if count(&mut tx, INVITED, "invited", &[]).await? >= INVITATIONS {
        return Err(Fault::new(
            Kind::Conflict,
            "too-many-invitations",
            "too many invitations are open; take some back first",
        ));
    }
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let sealed = desk.vault.seal(place(tx.tenant(), id), &invited.email)?;
    let (role, email) = (invited.role.as_str(), sealed.as_stored());
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &now, &role, &email];
    let spent = tx.create(granted, INVITE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun())
        .ids([id])
        .ended(Outcome::Allowed, 202);
    let (view, opened) = reload(&mut tx, &desk, id).await?;
    let tenant = tx.tenant();
    let receipt = tx.commit(entry.opened(opened)).await?;
    desk.people.tell_clerk(tenant, None);
    Answer::accepted(view, receipt)
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(skip)]
    role: Field<Role>,
    #[serde(default)]
    #[garde(skip)]
    artist_id: Field<Uuid>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Edit, Member>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let is_invited = before.state == State::Pending && before.subject.is_none();
    if before.state != State::Active && !is_invited {
        return Err(wrong_state("is not in the studio; admit the member first"));
    }
    let ceiling = edited.role.given("role")?.unwrap_or(before.ceiling);
    if ceiling > before.ceiling {
        before_an_owner(&tx, &desk, ceiling)?;
    }
    let artist = edited.artist_id.or(before.artist_id);
    let (now, ceiling) = (desk.clock.now(), ceiling.as_str());
    let (spent, _row) = tx.change(granted, EDIT, &[&now, &ceiling, &artist]).await?;
    let tenant = tx.tenant();
    let (view, opened) = reload(&mut tx, &desk, id).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let receipt = tx.commit(entry.opened(opened)).await?;
    desk.people.tenancy.drain_member(tenant, id).await?;
    desk.people.tell_clerk(tenant, Some(id));
    Ok(Answer::ok(view, receipt)?.etag(spent.version() + 1))
}

/// As what somebody is let in.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Admitted {
    #[garde(skip)]
    role: Role,
}

pub(super) async fn admit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(admitted): Valid<Admitted>,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Admit, Member>(id).await?;
    expect_version(version, granted.version())?;
    if granted.row().subject.is_none() {
        return Err(wrong_state("has not accepted the invitation yet"));
    }
    if granted.row().state == State::Active {
        return Err(wrong_state("is in the studio; change the role instead"));
    }
    before_an_owner(&tx, &desk, admitted.role)?;
    let (now, role) = (desk.clock.now(), admitted.role.as_str());
    let (spent, _row) = tx.change(granted, ADMIT, &[&now, &role]).await?;
    let tenant = tx.tenant();
    let (view, opened) = reload(&mut tx, &desk, id).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let receipt = tx.commit(entry.opened(opened)).await?;
    desk.people.tell_clerk(tenant, Some(id));
    Ok(Answer::ok(view, receipt)?.etag(spent.version() + 1))
}

pub(super) async fn remove(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Remove, Member>(id).await?;
    expect_version(version, granted.version())?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, REMOVE, &[&now]).await?;
    let tenant = tx.tenant();
    let entry = Entry::new(spent.action(), spent.noun())
        .ids([id])
        .ended(Outcome::Allowed, 204);
    let receipt = tx.commit(entry).await?;
    // Nobody enters anew as that member; what is under way ends before this is answered.
    desk.people.tenancy.drain_member(tenant, id).await?;
    desk.people.tell_clerk(tenant, None);
    Ok(Answer::no_content(receipt))
}

/// Whoever makes somebody an owner proves again who they are: a stolen session could otherwise make
/// itself a permanent one.
fn before_an_owner(tx: &TenantTx, desk: &Desk, role: Role) -> Result<(), Fault> {
    if role == Role::Owner {
        tx.verified_within(Reverification::Strict, &desk.clock)?;
    }
    Ok(())
}

async fn count(
    tx: &mut TenantTx,
    read: Read,
    column: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<i64, Fault> {
    let rows = tx.read(read, parameters).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a count without a row"))?;
    row.field(column)
}

async fn reload(
    tx: &mut TenantTx,
    desk: &Desk,
    id: Uuid,
) -> Result<(MemberView, Vec<&'static str>), Fault> {
    let rows = tx.read(Member::LOAD, &[&id]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a written member is not there"))?;
    MemberView::opened(Member::from_row(row)?, tx, &desk.vault)
}

fn wrong_state(what: &str) -> Fault {
    Fault::new(Kind::Conflict, "wrong-state", format!("the member {what}"))
}

/// Whether Clerk could write to it is Clerk's to say; that it is an address at all is said here.
fn address(text: &str, _: &()) -> garde::Result {
    match text.split_once('@') {
        Some((before, after))
            if !before.is_empty() && after.contains('.') && !text.contains(' ') =>
        {
            Ok(())
        }
        _ => Err(garde::Error::new("is no e-mail address")),
    }
}
