use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Accepted, Answer, Draft, Nothing},
    argument::{CursorText, Email, Field, Firm, Id, IfMatch, Path, Query, RoleName, Valid},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, Role};
use watertight_vault::Holder;

use super::{
    ADMIT, ALREADY_INVITED, EDIT, INVITE, INVITED, Member, OF_ADDRESS, REMOVE, State, TOTAL,
    actions::{Admit, Edit, Erase, Invite, Remove, View},
    view::MemberView,
};
use crate::{
    app::Desk,
    custody::erasure::{self, ErasureView},
    people::{EMAIL, EMAIL_CHARS, place},
    resources::page::{self, List, Paging, Sort, expect_version},
};

/// So many invitations of a studio may be open.
const INVITATIONS: i64 = 500;

/// Which members, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Member>,
    #[garde(skip)]
    state: Option<State>,
}

/// A page, and how many there are on all of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Members")]
pub(super) struct Members {
    #[serde(flatten)]
    list: List<MemberView>,
    total: i64,
}

pub(super) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<Members>, Fault> {
    let state = asked.state.map(State::as_str);
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let (list, entry) =
        page::read::<View, Member, _>(&mut tx, &desk, paging, &[&state], |member, _| {
            MemberView::listed(member)
        })
        .await?;
    let total = count(&mut tx, TOTAL, "total", &[&None::<Uuid>, &state]).await?;
    Draft::ok(Members { list, total })?.finish(tx, entry).await
}

pub(super) async fn show(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Result<Answer<MemberView>, Fault> {
    let granted = tx.grant::<View, Member>(id).await?;
    let member = tx.seen(granted)?;
    let version = member.version;
    let view = MemberView::opened(member, &mut tx, &desk.vault).await?;
    let entry = Entry::new("member.view", "member").ids([id]);
    Draft::ok(view)?.etag(version).finish(tx, entry).await
}

/// Whom an owner invites, and as what at most.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Invited {
    #[garde(dive)]
    email: Email<EMAIL_CHARS>,
    #[garde(dive)]
    role: RoleName,
}

pub(super) async fn invite(
    mut tx: TenantTx,
    desk: Desk,
    Valid(invited): Valid<Invited>,
) -> Result<Answer<Accepted<MemberView>>, Fault> {
    let granted = tx.grant_new::<Invite, Member>()?;
    before_an_owner(&tx, &desk, invited.role.0)?;
    if count(&mut tx, INVITED, "invited", &[]).await? >= INVITATIONS {
        return Err(Fault::new(
            crate::problems::TOO_MANY_INVITATIONS,
            "too many invitations are open; take some back first",
        ));
    }
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let index = not_here_yet(&mut tx, &desk, &invited.email).await?;
    let keys = desk.vault.to_seal(&mut tx, Holder::Person(id)).await?;
    let sealed = keys.seal(place(id), &invited.email)?;
    let (role, email) = (invited.role.0.as_str(), sealed.as_stored());
    let parameters: [&(dyn ToSql + Sync); 5] = [&id, &now, &role, &email, &index];
    let spent = tx.create(granted, INVITE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let member = tx.written(Member::LOAD, id).await?;
    let view = MemberView::opened(member, &mut tx, &desk.vault).await?;
    let tenant = tx.tenant();
    let draft = Draft::accepted(view)?;
    let answer = draft.commit(tx, entry).await?;
    desk.people.tell_clerk(tenant, None);
    Ok(answer)
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    role: Firm<RoleName>,
    #[serde(default)]
    #[garde(dive)]
    artist_id: Field<Id>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<MemberView>, Fault> {
    let granted = tx.grant::<Edit, Member>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let is_invited = before.state == State::Pending && before.subject.is_none();
    if before.state != State::Active && !is_invited {
        return Err(wrong_state("is not in the studio; admit the member first"));
    }
    let role = edited.role.given().map(|RoleName(role)| role);
    let ceiling = role.unwrap_or(before.ceiling);
    if ceiling > before.ceiling {
        before_an_owner(&tx, &desk, ceiling)?;
    }
    let artist = edited.artist_id.map(|Id(id)| id).or(before.artist_id);
    let (now, ceiling) = (desk.clock.now(), ceiling.as_str());
    let (spent, _row) = tx.change(granted, EDIT, &[&now, &ceiling, &artist]).await?;
    let tenant = tx.tenant();
    let member = tx.written(Member::LOAD, id).await?;
    let view = MemberView::opened(member, &mut tx, &desk.vault).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let draft = Draft::ok(view)?.etag(spent.version() + 1);
    let answer = draft.commit(tx, entry).await?;
    desk.people.tenancy.drain_member(tenant, id).await?;
    desk.people.tell_clerk(tenant, Some(id));
    Ok(answer)
}

/// As what somebody is let in.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admitted {
    #[garde(dive)]
    role: RoleName,
}

pub(super) async fn admit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(admitted): Valid<Admitted>,
) -> Result<Answer<MemberView>, Fault> {
    let granted = tx.grant::<Admit, Member>(id).await?;
    expect_version(version, granted.version())?;
    if granted.row().subject.is_none() {
        return Err(wrong_state("has not accepted the invitation yet"));
    }
    if granted.row().state == State::Active {
        return Err(wrong_state("is in the studio; change the role instead"));
    }
    before_an_owner(&tx, &desk, admitted.role.0)?;
    let (now, role) = (desk.clock.now(), admitted.role.0.as_str());
    let (spent, _row) = tx.change(granted, ADMIT, &[&now, &role]).await?;
    let tenant = tx.tenant();
    let member = tx.written(Member::LOAD, id).await?;
    let view = MemberView::opened(member, &mut tx, &desk.vault).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let draft = Draft::ok(view)?.etag(spent.version() + 1);
    let answer = draft.commit(tx, entry).await?;
    desk.people.tell_clerk(tenant, Some(id));
    Ok(answer)
}

pub(super) async fn remove(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant::<Remove, Member>(id).await?;
    expect_version(version, granted.version())?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, REMOVE, &[&now]).await?;
    let tenant = tx.tenant();
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let answer = Draft::no_content().commit(tx, entry).await?;
    // Nobody enters anew as that member; what reads or writes as them ends before this is answered.
    desk.people.tenancy.drain_member(tenant, id).await?;
    desk.people.tell_clerk(tenant, None);
    Ok(answer)
}

pub(super) async fn erase(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Valid(asked): Valid<erasure::Asked>,
) -> Result<Answer<ErasureView>, Fault> {
    erasure::asked::<Erase, Member>(tx, &desk, id, asked).await
}

/// Whoever makes somebody an owner proves again who they are: a stolen session could otherwise make
/// itself a permanent one.
fn before_an_owner(tx: &TenantTx, desk: &Desk, role: Role) -> Result<(), Fault> {
    if role == Role::Owner {
        tx.verified_within(Reverification::Strict, &desk.clock)?;
    }
    Ok(())
}

/// Refuses the address of somebody who is invited or in the studio; gives by what it is found again.
async fn not_here_yet(tx: &mut TenantTx, desk: &Desk, email: &str) -> Result<Vec<u8>, Fault> {
    let keys = desk.vault.to_seal(tx, Holder::Studio).await?;
    let found = tx.read(OF_ADDRESS, &[&keys.indexes(EMAIL, email)]).await?;
    match found.first() {
        None => Ok(keys.index(EMAIL, email)?),
        Some(_) => Err(Fault::new(ALREADY_INVITED.problem, ALREADY_INVITED.spoken)),
    }
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

fn wrong_state(what: &str) -> Fault {
    Fault::new(crate::problems::WRONG_STATE, format!("the member {what}"))
}
