use uuid::Uuid;
use watertight_terms::TenantId;

/// A kind of row that somebody may or may not do something with.
///
/// The product implements it once a noun, beside the row's type; [`facts`](Resource::facts) is all
/// that policies learn of a row, so a column that is not named there can never decide anything.
pub trait Resource: Send + Sync + 'static {
    /// The noun, as in the ledger and in the names of actions: `booking`.
    const NOUN: &'static str;
    /// The entity type in the policies' schema: `Booking`.
    const ENTITY: &'static str;

    /// Which row.
    fn id(&self) -> Uuid;
    /// Whose row. Policies read it as the attribute `studio`.
    fn tenant(&self) -> TenantId;
    /// The row's version, which a change names so that it changes what was looked at.
    fn version(&self) -> i32;
    /// The attributes that policies may read, as the schema declares them; `studio` is added.
    fn facts(&self) -> Vec<(&'static str, Fact)>;
}

/// Something that is done to a resource.
///
/// A type without values: `Granted<Cancel, Booking>` is a sentence that the compiler reads.
pub trait Action<R: Resource>: 'static {
    /// The action in the policies' schema, `noun.verb`: `booking.cancel`.
    const NAME: &'static str;
}

/// What policies may know of a row, in one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// A text, such as a state.
    Text(String),
    /// A whole number.
    Long(i64),
    /// Yes or no.
    Flag(bool),
    /// Another row: its entity type and its id.
    Is(&'static str, Uuid),
    /// Another row or none; without one the attribute is absent.
    MaybeIs(&'static str, Option<Uuid>),
}
