// A grant is made by the authority, and by nobody else.
use uuid::Uuid;
use watertight_authority::{Action, Fact, Granted, Nonce, Resource};
use watertight_terms::TenantId;

struct Booking;
impl Resource for Booking {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";
    fn id(&self) -> Uuid {
        Uuid::nil()
    }
    fn tenant(&self) -> TenantId {
        TenantId(Uuid::nil())
    }
    fn version(&self) -> i32 {
        1
    }
    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

struct Cancel;
impl Action<Booking> for Cancel {
    const NAME: &'static str = "booking.cancel";
}

fn forge(nonce: Nonce) -> Granted<Cancel, Booking> {
    Granted {
        row: Booking,
        rule: String::new(),
        nonce,
        action: std::marker::PhantomData,
    }
}

fn main() {}
