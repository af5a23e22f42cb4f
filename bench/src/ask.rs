//! The server, and how it is asked.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use serde_json::{Value, json};
use studio::{
    app::App,
    commands::serve_until,
    config::Config,
    demo::{ISSUER, ORIGIN, World, clerk_role, seed::SeededStudio},
};
use tokio::{net::TcpListener, task::JoinSet};
use watertight_identity::{
    Verifier, VerifierSettings,
    double::{Double, TokenRequest},
};
use watertight_terms::{Clock, Random};

use crate::{Trouble, reads::Reader};

/// A server on a port of its own, and the studio that asks it.
pub(crate) struct Server {
    base: String,
    http: reqwest::Client,
    double: Arc<Double>,
    studio: SeededStudio,
}

impl Server {
    pub(crate) async fn start(world: &World, random: &Random) -> Result<Self, Trouble> {
        let (app, double) = app(world.config.clone(), random)?;
        let base = serve(app).await?;
        let studio = world.studios.first().ok_or("no studio was made")?.clone();
        Ok(Self {
            base,
            http: reqwest::Client::new(),
            double: Arc::new(double),
            studio,
        })
    }

    fn token(&self) -> String {
        token(&self.double, &self.studio)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Trouble> {
        let (media, text) = match body {
            Value::String(lines) => ("text/csv", lines.clone()),
            body => ("application/json", body.to_string()),
        };
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request
            .bearer_auth(self.token())
            .header("content-type", media)
            .body(text);
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((
            status,
            serde_json::from_str(&response.text().await?).unwrap_or_default(),
        ))
    }

    /// Sends a body, which must be taken; gives how many seconds that took, and the answer.
    pub(crate) async fn timed(&self, path: &str, body: Value) -> Result<(f64, Value), Trouble> {
        let started = Instant::now();
        let (status, answer) = self.post(path, &body).await?;
        match status {
            200 | 201 => Ok((started.elapsed().as_secs_f64(), answer)),
            _ => Err(format!("{path} was answered with {status}: {answer}").into()),
        }
    }

    /// Makes options that all want the same day; gives the paths that confirm them.
    pub(crate) async fn options(&self, count: usize, round: usize) -> Result<Vec<String>, Trouble> {
        let artist = self.studio.artists.first().ok_or("no artist was made")?;
        let day = format!("2035-01-{:02}", round + 1);
        let body = json!({ "artist_id": artist, "project_id": self.studio.projects.first(), "state": "pencil",
            "starts_at": format!("{day}T09:00:00Z"), "ends_at": format!("{day}T17:00:00Z") });
        let mut paths = Vec::with_capacity(count);
        for _ in 0..count {
            let (_, made) = self.timed("/v1/bookings", body.clone()).await?;
            let id = made["id"].as_str().unwrap_or_default();
            paths.push(format!("/v1/bookings/{id}/confirm"));
        }
        Ok(paths)
    }

    /// Posts to all of the paths at once; gives how many seconds it took, and how many were taken.
    pub(crate) async fn at_once(&self, paths: &[String]) -> Result<(f64, usize), Trouble> {
        let started = Instant::now();
        let mut sent = JoinSet::new();
        for path in paths {
            let request = self
                .http
                .post(format!("{}{path}", self.base))
                .bearer_auth(self.token());
            sent.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
        }
        let statuses = sent
            .join_all()
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let seconds = started.elapsed().as_secs_f64();
        Ok((
            seconds,
            statuses.iter().filter(|status| **status == 200).count(),
        ))
    }
}

/// Who reads at once with others, over a pool of so many connections.
pub(crate) async fn reader(
    world: &World,
    random: &Random,
    connections: usize,
) -> Result<Reader, Trouble> {
    let mut config = world.config.clone();
    config.database.pool_max = connections;
    let (app, double) = app(config, random)?;
    let studio = world.studios.first().ok_or("no studio was made")?;
    Ok(Reader {
        caller: app.verifier.verify(&token(&double, studio)).await?,
        project: *studio.projects.first().ok_or("no project was made")?,
        app,
    })
}

/// Lets a server be heard on a port of its own; gives where.
pub(crate) async fn serve(app: App) -> Result<String, Trouble> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let base = format!("http://{}", listener.local_addr()?);
    // Isolations are heeded, as by every process that answers.
    tokio::spawn(async move {
        let answering = serve_until(listener, &app, std::future::pending());
        app.tenancy.heed_until(None, answering).await
    });
    Ok(base)
}

/// A server that is not heard yet, and who signs the tokens that it takes.
pub(crate) fn app(config: Config, random: &Random) -> Result<(App, Double), Trouble> {
    let double = Double::new(ISSUER, ORIGIN, Clock::system(), random.clone())?;
    Ok((app_of(config, random, &double)?, double))
}

/// One that takes tokens of somebody who signs already.
pub(crate) fn app_of(mut config: Config, random: &Random, double: &Double) -> Result<App, Trouble> {
    let clock = Clock::system();
    let settings = VerifierSettings::new(ISSUER, [ORIGIN]);
    let verifier = Verifier::new(settings, double.keys(), clock.clone())?;
    // Nobody is told at Clerk of what is measured.
    config.clerk.secret_key_file = None;
    Ok(App::new(config, verifier, clock, random.clone())?)
}

pub(crate) fn token(double: &Double, studio: &SeededStudio) -> String {
    let person = studio.person("manager");
    double.token(&TokenRequest {
        subject: person.subject.clone(),
        session: person.session.clone(),
        organization: studio.organization.clone(),
        slug: "bench".to_owned(),
        role: clerk_role(&person.role).to_owned(),
        version: 2,
        life_s: 60,
    })
}

/// Who of those with one skill is free in 90 days, among the bookings that were made.
pub(crate) fn window() -> Value {
    json!({ "skills": ["skill-0"], "min_minutes": 480,
        "window": { "starts_at": "2030-03-01T00:00:00Z", "ends_at": "2030-05-30T00:00:00Z" } })
}

/// A table of bookings in years that have none yet.
pub(crate) fn table(lines: usize, artists: i64) -> String {
    let mut text = "reference,artist,project,state,starts_at,ends_at\n".to_owned();
    let artists = usize::try_from(artists).unwrap_or(1);
    for line in 0..lines {
        let (artist, day) = (line % artists, line / artists);
        let (month, day) = (day / 28 % 12 + 1, day % 28 + 1);
        let window =
            format!("2050-{month:02}-{day:02}T09:00:00Z,2050-{month:02}-{day:02}T17:00:00Z");
        text.push_str(&format!("T-{line},L-{artist},BENCH,confirmed,{window}\n"));
    }
    text
}

/// The median of seconds, and the worst of them.
pub(crate) fn median(seconds: &[f64]) -> String {
    let worst = seconds.iter().copied().fold(0.0, f64::max);
    format!(
        "median {:.0} ms, worst {:.0} ms of {}",
        middle(seconds) * 1e3,
        worst * 1e3,
        seconds.len()
    )
}

/// The one in the middle.
pub(crate) fn middle(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
