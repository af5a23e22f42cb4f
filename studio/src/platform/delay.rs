use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;
use watertight_edge::{facts, rate::Stranger};
use watertight_watch::Delay;

use super::lock;
use crate::app::App;

/// So many refusals are held back at a time; of more, none waits: what waits has a connection.
const HELD_MOST: usize = 256;

#[derive(Debug)]
pub(super) struct Delays {
    learned: Mutex<Delay>,
    places: Arc<Semaphore>,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            learned: Mutex::default(),
            places: Arc::new(Semaphore::new(HELD_MOST)),
        }
    }
}

/// Layer: holds back what somebody is answered who could not say who they are, the longer the more often their network
/// failed. Whoever can is not asked about here, whatever others of their network do: a counter that locks out could be used to lock
/// out. An address of this machine is a proxy that is not named in `trusted_proxies`, and stands for everybody: nothing of it waits.
pub async fn hold_back(State(app): State<App>, request: Request, next: Next) -> Response {
    let facts = facts(request.extensions());
    let from = facts.map(|facts| (facts.address.clone(), facts.at));
    let response = next.run(request).await;
    let Some((address, at)) = from else {
        return response;
    };
    let is_stranger = response.extensions().get::<Stranger>().is_some();
    let is_here = address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    if !is_stranger || is_here {
        return response;
    }
    let delays = &app.platform.0.delays;
    let wait_ms = lock(&delays.learned).after_failure(&address, at);
    if wait_ms > 0
        && let Ok(_place) = Arc::clone(&delays.places).try_acquire_owned()
    {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    response
}
