// A right is good once.
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

fn twice(granted: Granted<Cancel, Booking>, nonce: &Nonce) {
    let _ = granted.spend(nonce);
    let _ = granted.spend(nonce);
}

fn main() {}
