//! Routes that show one row and ask for nothing else: `GET …/{id}`, in one round trip to the database.
//!
//! ```no_run
//! # use watertight::door::{Routes, get_one}; use watertight_authority::Action; use watertight_tenancy::Stored;
//! # fn routes<View: Action<Booking>, Booking: Stored + Send + Sync, BookingView>() -> Routes
//! # where BookingView: From<Booking> + serde::Serialize + schemars::JsonSchema + Send + 'static {
//! Routes::new().route("/v1/bookings/{id}", get_one::<View, Booking, BookingView>(|row, _| row.into()).says("a booking"))
//! # }
//! ```

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight_authority::Action;
use watertight_tenancy::{Account, Sight, Stored};
use watertight_terms::{Entry, Fault};

use super::{
    Class, Declared, Ended, InTransaction, Needs, Route, Told, Visit, Way, What, Work, Worked,
    entered,
    keyed::{Asked, caught},
};
use crate::{
    answer::{Answer, Answers, Draft},
    argument::{Argument, Path},
};

/// A route that shows the row that `{id}` of its path names, to whoever may `A` it. `view` makes what is shown.
pub fn get_one<A: Action<R>, R: Stored, V>(view: fn(R, &Sight) -> V) -> GetOne<A, R, V> {
    GetOne(view, std::marker::PhantomData)
}

/// Such a route, which must still say what it does.
#[must_use = "say what it does with `.says`"]
pub struct GetOne<A, R, V>(fn(R, &Sight) -> V, std::marker::PhantomData<fn() -> A>);

impl<A, R, V> Clone for GetOne<A, R, V> {
    fn clone(&self) -> Self {
        Self(self.0, std::marker::PhantomData)
    }
}

impl<A, R, V> GetOne<A, R, V>
where
    A: Action<R> + 'static,
    R: Stored + Send + Sync + 'static,
    V: Serialize + JsonSchema + Send + 'static,
{
    /// What it does, in a few words for those who call it. The route is for doing `A` with an `R`.
    pub fn says(self, summary: &'static str) -> Route {
        let (method, way) = (Method::GET, Way::Api);
        let needs = Needs {
            action: A::NAME,
            resource: R::NOUN,
            way,
            class: Class::of(&method, false),
            lasts: false,
            body_bytes: 0,
        };
        let declared = Declared {
            method: method.clone(),
            path: "",
            way,
            what: What::Needs {
                action: A::NAME,
                resource: R::NOUN,
            },
            told: Told {
                summary,
                ..Told::default()
            },
            read: |input| input.take::<(Path<Uuid>,)>().map(drop),
            describe: |description| {
                <(Path<Uuid>,) as Argument>::describe(description);
                <V as Answers>::describe(description);
            },
        };
        Route {
            methods: entered(&method, self, needs, None),
            declared: vec![declared],
        }
    }
}

impl<A, R, V> Work for GetOne<A, R, V>
where
    A: Action<R> + 'static,
    R: Stored + Send + Sync + 'static,
    V: Serialize + JsonSchema + Send + 'static,
{
    async fn once(
        &self,
        visit: &Visit,
        asked: &Result<Asked, Fault>,
        earlier: Option<&Account>,
    ) -> Worked {
        let id = match asked {
            Ok(asked) => asked.input.take::<(Path<Uuid>,)>(),
            Err(fault) => Err(fault.clone()),
        };
        let Ok((Path(id),)) = id else {
            // Whose request cannot be read is found out all the same: the studio's ledger says that it was refused.
            let nothing = |_: watertight_tenancy::TenantTx, _: Path<Uuid>| async {
                Err::<Answer<V>, _>(Fault::unseen())
            };
            return InTransaction::<_, (Path<Uuid>,)>::of(nothing)
                .once(visit, asked, earlier)
                .await;
        };
        let tenancy = &visit.door.0.tenancy;
        let looked = tenancy
            .look::<R>(&visit.caller, visit.facts.clone(), id)
            .await;
        let look = match (looked, earlier) {
            (Ok(look), None) => look,
            (Ok(look), Some(earlier)) => look.after(earlier),
            (Err(refused), _) => return visit.turned_away(refused, earlier).await,
        };
        let account = look.account().clone();
        visit.is_of(&account);
        let view = self.0;
        // In a task of its own: whatever panics, the entry is written.
        let shown = caught(Box::pin(async move {
            let (row, sight) = look.seen::<A>()?;
            let version = row.version();
            let draft = Draft::ok(view(row, &sight))?.etag(version);
            let entry = Entry::new(A::NAME, R::NOUN).ids([id]);
            draft.show(sight, entry).await.map(Answer::erased)
        }));
        shown.await.map_err(|fault| Ended {
            fault,
            account: Some(account),
        })
    }
}
