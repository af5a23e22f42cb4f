use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use watertight_terms::Fault;

use super::{Ask, Key, Limiter, Quota, Standing, Units, refusal};
use crate::{Edge, facts};

/// A caller who could not say who they are costs so much; anybody else one.
const STRANGER_COSTS: u32 = 10;
/// Who has one address of IPv6 has all of its network's.
const NETWORK_BITS: u32 = 64;

/// How much may come from one address of whom nobody knows who they are.
#[derive(Debug, Clone)]
pub struct AddressRate {
    /// Keeps the buckets.
    pub limiter: Limiter,
    /// How much one address may.
    pub quota: Quota,
}

/// What a request's address paid for it, in the request's extensions: whoever finds out who is
/// calling gives it back, since from then on the caller pays. So those who share an address do not
/// use up each other's.
#[derive(Debug, Clone, Copy)]
pub struct Paid(Ask);

impl Paid {
    /// What gives it back.
    pub fn back(self) -> Ask {
        Ask {
            units: Units::Return(1),
            ..self.0
        }
    }
}

/// In an answer's extensions: the caller could not say who they are.
#[derive(Debug, Clone, Copy)]
pub struct Stranger;

/// Layer: refuses an address that sends too much before anybody knows who is calling. Failed
/// authentication costs ten.
pub async fn limit_address(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let Some(rate) = &edge.address_rate else {
        return next.run(request).await;
    };
    let facts = facts(request.extensions());
    let address = facts.map_or_else(String::new, |facts| network_of(&facts.address));
    let ask = Ask {
        key: Key::of(&["address", &address]),
        policy: "address",
        quota: rate.quota,
        units: Units::Take(1),
    };
    let standings = rate.limiter.ask(&[ask]).await;
    if let Some(fault) = refusal(&standings) {
        note(rate, &address, &fault).await;
        return told(edge.refuse(&fault, request.extensions()), &standings);
    }
    request.extensions_mut().insert(Paid(ask));
    let mut response = next.run(request).await;
    if response.extensions_mut().remove::<Stranger>().is_none() {
        return told(response, &standings);
    }
    let rest = Units::Charge(STRANGER_COSTS - 1);
    let standings = rate.limiter.ask(&[Ask { units: rest, ..ask }]).await;
    told(response, &standings)
}

fn told(mut response: Response, standings: &[Standing]) -> Response {
    for standing in standings {
        standing.tell(response.headers_mut());
    }
    response
}

/// A flood is one line a minute in the platform's security log.
async fn note(rate: &AddressRate, address: &str, fault: &Fault) {
    if rate
        .limiter
        .first_in_a_minute(Key::of(&["noted", address]))
        .await
    {
        tracing::warn!(target: "security", address, reason = %fault, "not let in");
    }
}

/// The address, or the network of which all belongs to one client.
fn network_of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let network = address.to_bits() >> NETWORK_BITS << NETWORK_BITS;
            IpAddr::V6(network.into()).to_string()
        }
        Ok(IpAddr::V4(_)) | Err(_) => address.to_owned(),
    }
}
