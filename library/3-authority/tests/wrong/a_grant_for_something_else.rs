// Who may view may not therefore cancel.
use uuid::Uuid;
use watertight_authority::{Action, Fact, Granted, Nonce, Resource, Spent};
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

struct View;
impl Action<Booking> for View {
    const NAME: &'static str = "booking.view";
}

struct Cancel;
impl Action<Booking> for Cancel {
    const NAME: &'static str = "booking.cancel";
}

fn cancel(_: Spent<Cancel, Booking>) {}

fn cancel_what_may_be_viewed(granted: Granted<View, Booking>, nonce: &Nonce) {
    if let Ok(spent) = granted.spend(nonce) {
        cancel(spent);
    }
}

fn main() {}
