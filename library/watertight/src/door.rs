//! The door: from a request to a handler that holds a bound transaction, and back to an answer
//! whose entry is durable.
//!
//! ```no_run
//! # use watertight::{answer::Answer, argument::Path, door::{Routes, post}};
//! # use watertight_authority::{Action, Fact, Resource}; use watertight_tenancy::TenantTx;
//! # use watertight_terms::{Entry, Fault, TenantId}; use uuid::Uuid;
//! # struct Booking; impl Resource for Booking { const NOUN: &'static str = "booking"; const ENTITY: &'static str = "Booking";
//! #  fn id(&self) -> Uuid { todo!() } fn tenant(&self) -> TenantId { todo!() } fn version(&self) -> i32 { 1 }
//! #  fn facts(&self) -> Vec<(&'static str, Fact)> { vec![] } }
//! # struct Cancel; impl Action<Booking> for Cancel { const NAME: &'static str = "booking.cancel"; }
//! async fn cancel(tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer, Fault> {
//!     # let _ = id;
//!     let receipt = tx.finish(Entry::new("booking.cancel", "booking")).await?;
//!     Ok(Answer::no_content(receipt))
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

mod way;

use std::{
    collections::HashMap,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::HttpBody,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use watertight_authority::{Action, Resource};
use watertight_identity::{Caller, Verifier, Who};
use watertight_tenancy::{Account, Receipt, Refused, Tenancy, TenantTx};
use watertight_terms::{Entry, Fault, Kind, Outcome, Request as Facts};

use crate::{
    answer::Answer,
    argument::{Argument, Input},
    problem,
};

pub(crate) use way::secret;
pub use way::{Leads, Pages, Way};

/// What every route needs: who verifies callers, who begins transactions, and bounds of a body.
#[derive(Clone)]
pub struct Door(Arc<Inside>);

struct Inside {
    verifier: Verifier,
    tenancy: Tenancy,
    bounds: Bounds,
    pages: Option<Pages>,
    at_once: Arc<Semaphore>,
    by_member: Arc<Mutex<HashMap<String, usize>>>,
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
    pub requests_at_once: usize,
    /// So many of them may be one member's.
    pub requests_at_once_per_member: usize,
}

impl Door {
    /// A door. `state` is what handlers find in [`Input::state`].
    pub fn new(
        verifier: Verifier,
        tenancy: Tenancy,
        bounds: Bounds,
        state: http::Extensions,
    ) -> Self {
        Self(Arc::new(Inside {
            verifier,
            tenancy,
            bounds,
            pages: None,
            at_once: Arc::new(Semaphore::new(bounds.requests_at_once)),
            by_member: Arc::default(),
            state,
        }))
    }

    /// The same door, which serves pages too.
    pub fn with_pages(self, pages: Pages) -> Self {
        let Inside {
            verifier,
            tenancy,
            bounds,
            at_once,
            by_member,
            state,
            ..
        } = &*self.0;
        Self(Arc::new(Inside {
            verifier: verifier.clone(),
            tenancy: tenancy.clone(),
            bounds: *bounds,
            pages: Some(pages),
            at_once: Arc::clone(at_once),
            by_member: Arc::clone(by_member),
            state: state.clone(),
        }))
    }

    /// A place for one request, held until its work is done: work goes on when its client has gone,
    /// so nobody may begin more of it than there are places.
    fn place(&self, caller: &Caller) -> Result<Place, Fault> {
        let inside = &self.0;
        let everybodys = Arc::clone(&inside.at_once).try_acquire_owned();
        let everybodys = everybodys
            .map_err(|_| Fault::unavailable("too many requests at once; try again", 1))?;
        let member = match caller.who() {
            Who::Member(member) => member.subject().to_string(),
            Who::Service { name, .. } => name.to_owned(),
            Who::Page { digest } => uuid::Uuid::from_bytes(first_half(digest)).to_string(),
        };
        let mut by_member = inside
            .by_member
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = by_member.entry(member.clone()).or_default();
        if *taken >= inside.bounds.requests_at_once_per_member {
            return Err(Fault::new(
                Kind::TooMany,
                "too-many-requests",
                "you have too many requests under way; wait for some to end",
            ));
        }
        *taken += 1;
        Ok(Place {
            member,
            by_member: Arc::clone(&inside.by_member),
            _everybodys: everybodys,
        })
    }
}

fn first_half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(digest.split_at(16).0);
    half
}

/// One of the requests that are worked on.
struct Place {
    member: String,
    by_member: Arc<Mutex<HashMap<String, usize>>>,
    _everybodys: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_member = self
            .by_member
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_member.get_mut(&self.member) {
            *taken -= 1;
            if *taken == 0 {
                by_member.remove(&self.member);
            }
        }
    }
}

/// A future on the heap, so that routes of different handlers stand in one list.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function that answers requests of members: a transaction, then up to four arguments.
pub trait Handler<Arguments>: Clone + Send + Sync + 'static {
    /// Reads the arguments and runs.
    fn call(&self, tx: TenantTx, input: &Input) -> Boxed<Result<Answer, Fault>>;
}

macro_rules! handlers {
    ($(($($argument:ident $value:ident)*))*) => {
        $(impl<F, Fut, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn(TenantTx $(, $argument)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Answer, Fault>> + Send + 'static,
            $($argument: Argument + Send + 'static),*
        {
            fn call(&self, tx: TenantTx, input: &Input) -> Boxed<Result<Answer, Fault>> {
                match input.take::<($($argument,)*)>() {
                    Ok(($($value,)*)) => Box::pin(self(tx $(, $value)*)),
                    Err(fault) => Box::pin(std::future::ready(Err(fault))),
                }
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
type GuestAnswer = fn(Guest) -> Boxed<Result<Answer, Fault>>;

/// A handler with its method, not yet a route: it must still say what it is for.
#[must_use = "say what it is for with `.needs::<Action, Resource>()`"]
pub struct Verb<H, Arguments> {
    method: Method,
    handler: H,
    guests: Option<GuestAnswer>,
    way: Way,
    arguments: PhantomData<fn() -> Arguments>,
}

macro_rules! verbs {
    ($($name:ident $method:ident),*) => {
        $(#[doc = concat!("A handler of `", stringify!($method), "`.")]
        pub fn $name<H: Handler<Arguments>, Arguments>(handler: H) -> Verb<H, Arguments> {
            Verb { method: Method::$method, handler, guests: None, way: Way::Api, arguments: PhantomData }
        })*
    };
}

verbs! { get GET, post POST, patch PATCH, delete DELETE }

impl<H: Handler<Arguments>, Arguments: 'static> Verb<H, Arguments> {
    /// Lets guests come too, to `answer`.
    pub fn guests_too(mut self, answer: GuestAnswer) -> Self {
        self.guests = Some(answer);
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
        };
        let (handler, guests) = (self.handler, self.guests);
        let needs = Needs {
            action: A::NAME,
            resource: R::NOUN,
            way: self.way,
        };
        let methods = on(
            filter(&self.method),
            move |State(door): State<Door>,
                  path: Result<RawPathParams, RawPathParamsRejection>,
                  request: Request| {
                let handler = handler.clone();
                async move { enter(door, path, request, handler, needs, guests).await }
            },
        );
        Route {
            methods,
            declared: vec![declared],
        }
    }
}

/// A handler for everybody, without a transaction: it can reach no studio's row.
pub fn open<F, Fut>(method: Method, handler: F) -> Open
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let methods = on(filter(&method), move || handler.clone()());
    Open { method, methods }
}

/// A handler of what another service posts: its headers and its whole body, bounded as every other,
/// without a transaction. It must know by the bytes themselves whom to believe.
pub fn receive<F, Fut>(handler: F) -> Open
where
    F: Fn(HeaderMap, Bytes) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let take = move |State(door): State<Door>, request: Request| {
        let handler = handler.clone();
        async move {
            let facts = watertight_edge::facts(request.extensions()).cloned();
            let id = facts.as_ref().map_or(uuid::Uuid::nil(), |facts| facts.id);
            let (parts, body) = request.into_parts();
            let bounds = door.0.bounds;
            let body =
                watertight_edge::read_body(body, bounds.body_bytes, bounds.body_timeout_ms).await;
            let taken = match body {
                Ok(body) => handler(parts.headers, body).await,
                Err(fault) => Err(fault),
            };
            match taken {
                Ok(()) => http::StatusCode::NO_CONTENT.into_response(),
                Err(fault) => {
                    if let Some(facts) = facts.filter(|_| fault.kind() == Kind::Unauthenticated) {
                        note_stranger(&fault, &facts);
                    }
                    problem::refuse(&fault, id)
                }
            }
        }
    };
    Open {
        method: Method::POST,
        methods: on(MethodFilter::POST, take),
    }
}

/// A handler for everybody, which must still say why it is.
#[must_use = "say why with `.public(\"why\")`"]
pub struct Open {
    method: Method,
    methods: MethodRouter<Door>,
}

impl Open {
    /// The route is for everybody, because of `why`.
    pub fn public(self, why: &'static str) -> Route {
        Route {
            methods: self.methods,
            declared: vec![Declared {
                method: self.method,
                path: "",
                way: Way::Api,
                what: What::Public { why },
            }],
        }
    }
}

/// What answers on a path: made by `.needs` or `.public` and nothing else.
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

/// A route as it was declared, for tests that walk all of them.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The path, with `{id}` for parameters.
    pub path: &'static str,
    /// Who comes to it, and how.
    pub way: Way,
    /// What it is for.
    pub what: What,
}

/// What a route is for.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// Members with a right.
    Needs {
        /// The action.
        action: &'static str,
        /// The resource.
        resource: &'static str,
    },
    /// Everybody.
    Public {
        /// Why.
        why: &'static str,
    },
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

    /// The router, with the answers to paths and methods that nothing is declared for.
    pub fn into_router(self, door: Door) -> Router {
        self.router
            .fallback(|request: Request| async move { refuse(&Fault::unseen(), &request) })
            .method_not_allowed_fallback(|request: Request| async move {
                let fault = Fault::new(
                    Kind::MethodUnknown,
                    "method-not-allowed",
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
}

/// The way of a request: caller, body, transaction, handler, entry, answer.
async fn enter<H: Handler<Arguments>, Arguments: 'static>(
    door: Door,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    handler: H,
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
    let refuse = door.refusals(needs.way, &parts.method);
    let caller = match door.caller(needs.way, &parts).await {
        Ok(caller) => caller,
        Err(fault) => {
            note_stranger(&fault, &facts);
            return refuse(&fault, facts.id);
        }
    };
    let place = match door.place(&caller) {
        Ok(place) => place,
        Err(fault) => return refuse(&fault, facts.id),
    };
    // The whole body before the transaction: a slow client must not hold a connection.
    let bounds = door.0.bounds;
    let body = watertight_edge::read_body(body, bounds.body_bytes, bounds.body_timeout_ms).await;
    let path = path.map_err(|_| Fault::unseen()).map(|path| named(&path));
    let input = body.and_then(|body| {
        door.check_setting(needs.way, &parts, &body)?;
        Ok(Input {
            method: parts.method,
            path: path?,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
            state: door.0.state.clone(),
        })
    });
    let visit = Visit {
        tenancy: door.0.tenancy.clone(),
        caller,
        facts: facts.clone(),
        needs,
        guests,
    };
    // In a task of its own: it goes on to its end, entry included, whoever still listens.
    let worked = tokio::spawn(async move {
        let worked = visit.work(&handler, input).await;
        drop(place);
        worked
    });
    match worked.await {
        Ok(Ok(answer)) => answer.into_response(),
        Ok(Err(fault)) => refuse(&fault, facts.id),
        Err(_panicked) => refuse(&Fault::bug("a request's task ended early"), facts.id),
    }
}

fn named(path: &RawPathParams) -> Vec<(String, String)> {
    path.iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

struct Visit {
    tenancy: Tenancy,
    caller: Caller,
    facts: Facts,
    needs: Needs,
    guests: Option<GuestAnswer>,
}

impl Visit {
    async fn work<H: Handler<Arguments>, Arguments>(
        self,
        handler: &H,
        input: Result<Input, Fault>,
    ) -> Result<Answer, Fault> {
        let first = self.once(handler, &input).await;
        match first {
            // Others changed the same things at the same instant: once more, then it is told.
            Err(Ended { fault, .. }) if fault.slug() == "busy" => {
                let second = self.once(handler, &input).await;
                self.settled(second).await
            }
            other => self.settled(other).await,
        }
    }

    async fn once<H: Handler<Arguments>, Arguments>(
        &self,
        handler: &H,
        input: &Result<Input, Fault>,
    ) -> Result<Answer, Ended> {
        let tx = match self.tenancy.begin(&self.caller, self.facts.clone()).await {
            Ok(tx) => tx,
            Err(refused) => return self.turned_away(refused).await,
        };
        let account = tx.account().clone();
        let worked = match input {
            Ok(input) => {
                // Arguments are read inside the task too: whatever panics, the entry is written.
                let (handler, input) = (handler.clone(), input.clone());
                caught(Box::pin(async move { handler.call(tx, &input).await })).await
            }
            Err(fault) => Err(fault.clone()),
        };
        worked.map_err(|fault| Ended {
            fault,
            account: Some(account),
        })
    }

    async fn turned_away(&self, refused: Refused) -> Result<Answer, Ended> {
        let Refused {
            fault,
            account,
            guest_of,
        } = refused;
        match (self.guests, guest_of, account) {
            (Some(answer), Some(studio), Some(account)) => {
                let guest = Guest {
                    studio,
                    account: account.clone(),
                    tenancy: self.tenancy.clone(),
                };
                answer(guest).await.map_err(|fault| Ended {
                    fault,
                    account: Some(account),
                })
            }
            (_, _, account) => Err(Ended { fault, account }),
        }
    }

    /// Writes the entry of what was refused or broke, unless one is written already.
    async fn settled(&self, worked: Result<Answer, Ended>) -> Result<Answer, Fault> {
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
            .rule(fault.slug())
            .ended(outcome, problem::status_of_fault(&fault));
        match self.tenancy.record(&account, &entry).await {
            Ok(_written) => Err(fault),
            Err(unwritten) => Err(
                Fault::unavailable("the ledger cannot be written right now", 1)
                    .log(format!("{unwritten}; the fault was: {fault}")),
            ),
        }
    }
}

/// A request that ended badly, and who is to be told of in the ledger.
struct Ended {
    fault: Fault,
    account: Option<Account>,
}

/// A handler that panics has a defect of ours; its transaction is gone with it.
async fn caught(work: Boxed<Result<Answer, Fault>>) -> Result<Answer, Fault> {
    match tokio::spawn(work).await {
        Ok(worked) => worked,
        Err(_panicked) => Err(Fault::bug("a handler panicked")),
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

fn refuse(fault: &Fault, request: &Request) -> Response {
    let id =
        watertight_edge::facts(request.extensions()).map_or(uuid::Uuid::nil(), |facts| facts.id);
    let mut response = problem::refuse(fault, id);
    if !request.body().is_end_stream() {
        problem::say_close(&mut response);
    }
    response
}

/// Strangers write nothing to the database: they go to the platform's security log.
fn note_stranger(fault: &Fault, facts: &Facts) {
    tracing::info!(target: "security", request_id = %facts.id, address = facts.address, reason = %fault, "not let in");
}
