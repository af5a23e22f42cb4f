//! The door: from a request to a handler that holds a bound transaction, and back to an answer
//! whose entry is durable.
//!
//! ```no_run
//! # use watertight::{answer::{Answer, Draft, Nothing}, argument::Path, door::{Routes, post}};
//! # use watertight_authority::{Action, Fact, Resource}; use watertight_tenancy::TenantTx;
//! # use watertight_terms::{Entry, Fault, TenantId}; use uuid::Uuid;
//! # struct Booking; impl Resource for Booking { const NOUN: &'static str = "booking"; const ENTITY: &'static str = "Booking";
//! #  fn id(&self) -> Uuid { todo!() } fn tenant(&self) -> TenantId { todo!() } fn version(&self) -> i32 { 1 }
//! #  fn facts(&self) -> Vec<(&'static str, Fact)> { vec![] } }
//! # struct Cancel; impl Action<Booking> for Cancel { const NAME: &'static str = "booking.cancel"; }
//! async fn cancel(tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer<Nothing>, Fault> {
//!     # let _ = id;
//!     Draft::no_content().commit(tx, Entry::new("booking.cancel", "booking")).await
//! }
//!
//! // `.needs` says what the route is for; a route without it, or without `.public("why")`, does
//! // not compile.
//! let routes = Routes::new().route("/v1/bookings/{id}/cancel", post(cancel).needs::<Cancel, Booking>());
//! ```
//!
//! A request that was let in is worked to its end even when its client goes away: it runs in a
//! task of its own, so its transaction ends and its entry is written either way. Whatever a
//! handler refuses is written in the studio's ledger here, so that no handler can forget it.

mod declared;
mod keyed;
mod lasting;
mod leaving;
mod one;
mod open;
mod places;
mod rates;
mod strangers;
mod way;
mod work;

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use http::{Method, request::Parts};
use watertight_authority::{Action, Resource};
use watertight_identity::{Caller, Verifier};
use watertight_tenancy::{Account, Receipt, Refused, Tenancy, TenantTx};
use watertight_terms::{Entry, Fault, Kind, Outcome, Request as Facts, problems};
use watertight_vault::Vault;

use crate::{
    answer::{Answer, Answers},
    argument::{Argument, Input},
    describe::Description,
    problem,
};
use keyed::Asked;
use leaving::leaving;

pub use declared::{Declared, Told, What};
pub use lasting::Lasting;
pub use leaving::Whose;
pub use one::{GetOne, get_one};
pub use open::{Open, open, receive};
pub use places::AtOnce;
use places::Taken;
pub use rates::{Class, Own, Rates};
pub use way::{Leads, Pages, Way};
pub(crate) use way::{feed_secret, secret};
use work::{InTransaction, Work};

/// What every route needs: who verifies callers, who begins transactions, and bounds of a body.
#[derive(Clone)]
pub struct Door(Arc<Inside>);

#[derive(Clone)]
struct Inside {
    verifier: Verifier,
    tenancy: Tenancy,
    bounds: Bounds,
    pages: Option<Pages>,
    rates: Option<Rates>,
    strangers: Option<strangers::Hear>,
    vault: Arc<Vault>,
    taken: Arc<Mutex<Taken>>,
    state: http::Extensions,
}

/// What a door lets in at once, and how large.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A body has at most so many bytes.
    pub body_bytes: usize,
    /// A body arrives within so long.
    pub body_timeout_ms: u64,
    /// So many requests are worked on at once; more are told to come back.
    pub at_once: AtOnce,
}

impl Door {
    /// A door. `vault` seals the answers that are kept for repeated requests, `state` is what handlers
    /// find in [`Input::state`].
    pub fn new(
        verifier: Verifier,
        tenancy: Tenancy,
        vault: Arc<Vault>,
        bounds: Bounds,
        state: http::Extensions,
    ) -> Self {
        Self(Arc::new(Inside {
            verifier,
            tenancy,
            bounds,
            pages: None,
            rates: None,
            strangers: None,
            vault,
            taken: Arc::default(),
            state,
        }))
    }

    /// The same door, which serves pages too.
    pub fn with_pages(self, pages: Pages) -> Self {
        self.changed(|inside| inside.pages = Some(pages))
    }

    /// The same door, which counts the requests of members and studios.
    pub fn with_rates(self, rates: Rates) -> Self {
        self.changed(|inside| inside.rates = Some(rates))
    }

    fn changed(mut self, change: impl FnOnce(&mut Inside)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// A future on the heap, so that routes of different handlers stand in one list.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function that answers requests of members: a transaction, then up to four arguments.
pub trait Handler<Arguments>: Clone + Send + Sync + 'static {
    /// Reads the arguments and runs.
    fn call(&self, tx: TenantTx, input: &Input) -> Boxed<Result<Answer<()>, Fault>>;

    /// Reads the arguments and does nothing with them.
    ///
    /// # Errors
    /// The first argument's that cannot be read.
    fn read(input: &Input) -> Result<(), Fault>;

    /// Says what it takes and answers, by its types.
    fn describe(description: &mut Description<'_>);
}

macro_rules! handlers {
    ($(($($argument:ident $value:ident)*))*) => {
        $(impl<F, Fut, Says, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn(TenantTx $(, $argument)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Answer<Says>, Fault>> + Send + 'static,
            Says: Answers,
            $($argument: Argument + Send + 'static),*
        {
            fn call(&self, tx: TenantTx, input: &Input) -> Boxed<Result<Answer<()>, Fault>> {
                match input.take::<($($argument,)*)>() {
                    Ok(($($value,)*)) => {
                        let work = self(tx $(, $value)*);
                        Box::pin(async move { work.await.map(Answer::erased) })
                    }
                    Err(fault) => Box::pin(std::future::ready(Err(fault))),
                }
            }

            fn read(input: &Input) -> Result<(), Fault> {
                input.take::<($($argument,)*)>().map(drop)
            }

            fn describe(description: &mut Description<'_>) {
                <($($argument,)*) as Argument>::describe(description);
                <Says as Answers>::describe(description);
            }
        })*
    };
}

handlers! { () (A a) (A a B b) (A a B b C c) (A a B b C c D d) }

/// A guest at the door: known to the studio, but without any right to its rows.
pub struct Guest {
    studio: String,
    account: Account,
    tenancy: Tenancy,
}

impl Guest {
    /// The studio's name: all that a guest may know of it.
    pub fn studio(&self) -> &str {
        &self.studio
    }

    /// The subject of the guest.
    pub fn subject(&self) -> &str {
        self.account.actor()
    }

    /// Writes the entry of the visit.
    ///
    /// # Errors
    /// When it cannot be written; then nothing may be answered.
    pub async fn finish(self, entry: Entry) -> Result<Receipt, Fault> {
        self.tenancy.record(&self.account, &entry).await
    }
}

/// What answers a guest on a route that guests may come to.
type GuestAnswer = Arc<dyn Fn(Guest) -> Boxed<Result<Answer<()>, Fault>> + Send + Sync>;

/// A handler with its method, not yet a route: it must still say what it is for.
#[must_use = "say what it is for with `.needs::<Action, Resource>()`"]
pub struct Verb<H, Arguments> {
    method: Method,
    handler: H,
    guests: Option<GuestAnswer>,
    way: Way,
    lasts: bool,
    told: Told,
    arguments: PhantomData<fn() -> Arguments>,
}

macro_rules! verbs {
    ($($name:ident $method:ident),*) => {
        $(#[doc = concat!("A handler of `", stringify!($method), "`.")]
        pub fn $name<H: Handler<Arguments>, Arguments>(handler: H) -> Verb<H, Arguments> {
            Verb { method: Method::$method, handler, guests: None, way: Way::Api, lasts: false, told: Told::default(), arguments: PhantomData }
        })*
    };
}

verbs! { get GET, post POST, patch PATCH, delete DELETE }

impl<H: Handler<Arguments>, Arguments: 'static> Verb<H, Arguments> {
    /// Lets guests come too, to `answer`.
    pub fn guests_too<Says: Answers + 'static>(
        mut self,
        answer: fn(Guest) -> Boxed<Result<Answer<Says>, Fault>>,
    ) -> Self {
        self.guests = Some(Arc::new(move |guest| {
            let work = answer(guest);
            Box::pin(async move { work.await.map(Answer::erased) })
        }));
        self.told.guests = Some(Says::describe);
        self
    }

    /// What it does, in a few words for those who call it.
    pub fn says(mut self, summary: &'static str) -> Self {
        self.told.summary = summary;
        self
    }

    /// A body that it takes, as JSON. `"{/v1/artists}"` in it stands for the id of an artist. The
    /// document shows it, and the tests that walk all routes send it.
    pub fn sample(mut self, body: &'static str) -> Self {
        self.told.sample = Some(body);
        self
    }

    /// The actions that a new row needs before this one: the last segments of their paths.
    pub fn after(mut self, actions: &'static [&'static str]) -> Self {
        self.told.after = actions;
        self
    }

    /// It reads or works through much: callers may do less of it than of other things.
    pub fn expensive(mut self) -> Self {
        self.told.is_expensive = true;
        self
    }

    /// Its answer goes on after the request: the handler takes a [`Lasting`].
    pub fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }

    /// Its body may have so many bytes, where that is more than elsewhere.
    pub fn body_bytes(mut self, most: usize) -> Self {
        self.told.body_bytes = Some(most);
        self
    }

    /// The route is a page: its caller has a cookie, its answers are read by people, and a form
    /// that changes something must be one of the caller's own.
    pub fn page(mut self) -> Self {
        self.way = Way::Page;
        self
    }

    /// The route hands out a cookie for a token, to a page of ours and nobody else's.
    pub fn sign_in(mut self) -> Self {
        self.way = Way::SignIn;
        self
    }

    /// The route is a feed: its path is `…/{file}`, and that is the secret of whoever reads it.
    pub fn feed(mut self) -> Self {
        self.way = Way::Feed;
        self
    }

    /// The route is for doing `A` with an `R`: what the ledger says of requests that are refused,
    /// and what the test of refusals tries without the right.
    pub fn needs<A: Action<R>, R: Resource>(self) -> Route {
        let declared = Declared {
            method: self.method.clone(),
            path: "",
            way: self.way,
            what: What::Needs {
                action: A::NAME,
                resource: R::NOUN,
            },
            told: self.told,
            read: H::read,
            describe: H::describe,
        };
        let (work, guests) = (InTransaction::of(self.handler), self.guests);
        let needs = Needs {
            action: A::NAME,
            resource: R::NOUN,
            way: self.way,
            class: Class::of(&self.method, self.told.is_expensive),
            lasts: self.lasts,
            body_bytes: self.told.body_bytes.unwrap_or_default(),
        };
        let methods = entered(&self.method, work, needs, guests);
        Route {
            methods,
            declared: vec![declared],
        }
    }
}

/// What does a work, on a path that is still to be named.
fn entered(
    method: &Method,
    work: impl Work,
    needs: Needs,
    guests: Option<GuestAnswer>,
) -> MethodRouter<Door> {
    on(
        filter(method),
        move |State(door): State<Door>,
              path: Result<RawPathParams, RawPathParamsRejection>,
              request: Request| {
            let (work, guests) = (work.clone(), guests.clone());
            async move { enter(door, path, request, work, needs, guests).await }
        },
    )
}

/// What answers on a path: made by `.needs`, `.public` or [`GetOne::says`] and nothing else.
#[must_use = "a route answers when it is added to the routes"]
pub struct Route {
    methods: MethodRouter<Door>,
    declared: Vec<Declared>,
}

impl Route {
    /// Another method on the same path.
    pub fn and(mut self, other: Self) -> Self {
        self.methods = self.methods.merge(other.methods);
        self.declared.extend(other.declared);
        self
    }
}

/// All routes of a product, and what they were declared for.
#[derive(Default)]
pub struct Routes {
    router: Router<Door>,
    declared: Vec<Declared>,
}

impl Routes {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what answers on a path.
    pub fn route(mut self, path: &'static str, route: Route) -> Self {
        self.router = self.router.route(path, route.methods);
        self.declared.extend(
            route
                .declared
                .into_iter()
                .map(|declared| Declared { path, ..declared }),
        );
        self
    }

    /// Every route, as it was declared.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The largest body that any route takes for itself, in bytes.
    pub fn body_bytes(&self) -> usize {
        let of_routes = self
            .declared
            .iter()
            .filter_map(|route| route.told.body_bytes);
        of_routes.max().unwrap_or_default()
    }

    /// The router, with the answers to paths and methods that nothing is declared for.
    pub fn into_router(self, door: Door) -> Router {
        self.router
            .fallback(|request: Request| async move { refuse(&Fault::unseen(), &request) })
            .method_not_allowed_fallback(|request: Request| async move {
                let fault = Fault::new(
                    problems::METHOD_NOT_ALLOWED,
                    "this path does not know this method",
                );
                refuse(&fault, &request)
            })
            .with_state(door)
    }
}

#[derive(Clone, Copy)]
struct Needs {
    action: &'static str,
    resource: &'static str,
    way: Way,
    class: Class,
    lasts: bool,
    /// So many bytes a body may have, if that is more than the door's bound.
    body_bytes: usize,
}

/// The way of a request: caller, body, transaction, handler, entry, answer.
async fn enter(
    door: Door,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    work: impl Work,
    needs: Needs,
    guests: Option<GuestAnswer>,
) -> Response {
    let Some(facts) = watertight_edge::facts(request.extensions()).cloned() else {
        return problem::refuse(
            &Fault::bug("the request has no facts: the edge is missing"),
            uuid::Uuid::nil(),
        );
    };
    let (parts, body) = request.into_parts();
    let line = parts.extensions.get().cloned();
    let refuse = door.refusals(needs.way, &parts.method);
    let path = path.map_err(|_| Fault::unseen()).map(|path| named(&path));
    let known = path.as_deref().unwrap_or_default();
    let caller = match door.caller(needs.way, &parts, known).await {
        Ok(caller) => caller,
        Err(fault) => {
            door.note_stranger(&fault, &facts);
            return refuse(&fault, facts.id);
        }
    };
    let counted = door.count(&caller, needs.class, &parts.extensions).await;
    let place = match &counted.refused {
        Some(fault) => Err(fault.clone()),
        None => door.place(&caller, needs.class),
    };
    let known = Arc::default();
    let visit = Visit {
        known: Arc::clone(&known),
        door: door.clone(),
        caller,
        facts: facts.clone(),
        needs,
        guests,
    };
    // In a task of its own: it goes on to its end, entry included, whoever still listens.
    let worked = match place {
        Ok(place) => {
            let mut asked = door.asked(needs, parts, body, path).await;
            if let Ok(asked) = &mut asked
                && needs.lasts
            {
                asked.input.state.insert(Lasting::of(&visit));
            }
            tokio::spawn(async move {
                let worked = visit.work(&work, asked).await;
                drop(place);
                worked
            })
        }
        Err(fault) => tokio::spawn(visit.turn_back(fault)),
    };
    let mut response = match worked.await {
        Ok(Ok(answer)) => answer.into_response(),
        Ok(Err(fault)) => refuse(&fault, facts.id),
        Err(_panicked) => refuse(&Fault::bug("a request's task ended early"), facts.id),
    };
    counted.tell(response.headers_mut());
    leaving(response, &known, line)
}

impl Door {
    /// What was asked, its whole body included: read before the transaction, since a slow client must
    /// not hold a connection.
    async fn asked(
        &self,
        needs: Needs,
        parts: Parts,
        body: axum::body::Body,
        path: Result<Vec<(String, String)>, Fault>,
    ) -> Result<Asked, Fault> {
        let (way, bounds) = (needs.way, self.0.bounds);
        let most = bounds.body_bytes.max(needs.body_bytes);
        let body = watertight_edge::read_body(body, most, bounds.body_timeout_ms).await?;
        self.check_setting(way, &parts, &body)?;
        let repeat = self.repeat(way, &parts, &body)?;
        let input = Input {
            method: parts.method,
            path: path?,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
            state: self.0.state.clone(),
        };
        Ok(Asked { input, repeat })
    }
}

fn named(path: &RawPathParams) -> Vec<(String, String)> {
    path.iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

struct Visit {
    /// Who it is, once that is known; kept until the answer has left.
    known: Arc<OnceLock<Account>>,
    door: Door,
    caller: Caller,
    facts: Facts,
    needs: Needs,
    guests: Option<GuestAnswer>,
}

impl Visit {
    async fn work(
        self,
        work: &impl Work,
        asked: Result<Asked, Fault>,
    ) -> Result<Answer<()>, Fault> {
        let ids = asked.as_ref().map(Asked::ids).unwrap_or_default();
        let first = work.once(&self, &asked, None).await;
        match first {
            // Others changed the same things at the same instant: once more, then it is told.
            Err(Ended { fault, account }) if fault.problem() == problems::BUSY => {
                let second = work.once(&self, &asked, account.as_ref()).await;
                self.settled(second, ids).await
            }
            other => self.settled(other, ids).await,
        }
    }

    /// Refuses a request that is one too many. Of a flood one refusal a minute is written, so that a
    /// flood cannot fill the ledger.
    async fn turn_back(self, fault: Fault) -> Result<Answer<()>, Fault> {
        if !self.door.is_noted(&self.caller).await {
            return Err(fault);
        }
        let tenancy = &self.door.0.tenancy;
        let account = match tenancy.begin(&self.caller, self.facts.clone()).await {
            Ok(tx) => Some(tx.account().clone()),
            Err(refused) => refused.account,
        };
        self.settled(Err(Ended { fault, account }), Vec::new())
            .await
    }

    /// Whose request it is, once that is known.
    fn is_of(&self, account: &Account) {
        let _of_an_earlier_attempt = self.known.set(account.clone());
    }

    async fn turned_away(
        &self,
        refused: Refused,
        earlier: Option<&Account>,
    ) -> Result<Answer<()>, Ended> {
        let Refused {
            fault,
            account,
            guest_of,
        } = refused;
        if account.is_none() && earlier.is_none() {
            self.door.note_stranger(&fault, &self.facts);
        }
        let account = match (account, earlier) {
            (Some(account), Some(earlier)) => Some(account.after(earlier)),
            (account, earlier) => account.or_else(|| earlier.cloned()),
        };
        match (&self.guests, guest_of, account) {
            (Some(answer), Some(studio), Some(account)) => {
                let guest = Guest {
                    studio,
                    account: account.clone(),
                    tenancy: self.door.0.tenancy.clone(),
                };
                answer(guest).await.map_err(|fault| Ended {
                    fault,
                    account: Some(account),
                })
            }
            (_, _, account) => Err(Ended {
                fault: self.concealed(fault, account.is_some()),
                account,
            }),
        }
    }

    /// What whoever was not let in is told. A feed's address that leads nowhere, no longer or not now is
    /// one answer: whoever has it is nobody here.
    fn concealed(&self, fault: Fault, is_known: bool) -> Fault {
        let is_ours = matches!(fault.kind(), Kind::Bug | Kind::Unavailable);
        match self.needs.way {
            Way::Feed if is_known || !is_ours => Fault::unseen().log(fault.to_string()),
            _ => fault,
        }
    }

    /// Writes the entry of what was refused or broke, unless one is written already.
    async fn settled(&self, worked: Worked, ids: Vec<uuid::Uuid>) -> Result<Answer<()>, Fault> {
        let Ended { fault, account } = match worked {
            Ok(answer) => return Ok(answer),
            Err(ended) => ended,
        };
        let Some(account) = account.filter(|account| !account.is_settled()) else {
            return Err(fault);
        };
        let outcome = match fault.kind() {
            Kind::Bug | Kind::Unavailable => Outcome::Failed,
            _ => Outcome::Refused,
        };
        let entry = Entry::new(self.needs.action, self.needs.resource)
            .ids(ids)
            .rule(fault.slug())
            .ended(outcome, problem::status_of_fault(&fault));
        match self.door.0.tenancy.record(&account, &entry).await {
            Ok(_written) => Err(fault),
            Err(unwritten) => Err(
                Fault::unavailable("the ledger cannot be written right now", 1)
                    .log(format!("{unwritten}; the fault was: {fault}")),
            ),
        }
    }
}

type Worked = Result<Answer<()>, Ended>;

/// A request that ended badly, and who is to be told of in the ledger.
struct Ended {
    fault: Fault,
    account: Option<Account>,
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

fn refuse(fault: &Fault, request: &Request) -> Response {
    let id =
        watertight_edge::facts(request.extensions()).map_or(uuid::Uuid::nil(), |facts| facts.id);
    problem::refuse(fault, id)
}
