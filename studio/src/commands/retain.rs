use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;
use watertight_terms::{Fault, TenantId};

use super::{Failure, Output};
use crate::{
    app::App,
    config::Config,
    jobs::retention::{self, Planned},
};

#[derive(Debug, Subcommand)]
pub(super) enum Retain {
    /// What would go, by table and reason; nothing is changed
    Plan(Where),
    /// Let it go now; the worker does so once a day
    Run(Where),
}

#[derive(Debug, Args)]
pub(super) struct Where {
    /// In this studio alone
    #[arg(long, value_name = "ID")]
    studio: Option<Uuid>,
}

impl Retain {
    pub(super) async fn run(self, config: Config, output: &Output) -> Result<u8, Failure> {
        let app = super::app(config).await?;
        let (Self::Plan(place) | Self::Run(place)) = &self;
        let only = place.studio.map(TenantId);
        let studios = retention::studios(&app.tenancy, only).await;
        let studios = studios.map_err(failed)?;
        match self {
            Self::Plan(_) => plan(&app, &studios, output).await,
            Self::Run(_) => run(&app, &studios, output).await,
        }
    }
}

async fn plan(app: &App, studios: &[TenantId], output: &Output) -> Result<u8, Failure> {
    let (mut lines, mut all, mut kept_out) = (Vec::new(), Vec::new(), 0);
    for studio in studios {
        match retention::plan(app, *studio).await {
            Ok(planned) => {
                for one in planned.iter().filter(|one| one.over.rows > 0) {
                    lines.push(line(*studio, one));
                    all.push(json!({
                        "studio": studio.0, "table": one.over.table, "rule": one.rule.name, "days": one.days,
                        "then": one.rule.then, "rows": one.over.rows - one.over.held, "held": one.over.held,
                    }));
                }
            }
            Err(fault) if retention::is_kept_out(&fault) => kept_out += 1,
            Err(fault) => return Err(failed(fault)),
        }
    }
    if lines.is_empty() {
        lines.push("nothing is over".to_owned());
    }
    if kept_out > 0 {
        lines.push(left_out(kept_out));
    }
    let json = json!({ "plan": all, "studios_left": kept_out });
    output.result(&lines.join("\n"), &json);
    Ok(u8::from(kept_out > 0))
}

fn line(studio: TenantId, one: &Planned) -> String {
    let Planned { rule, days, over } = one;
    format!(
        "studio {studio}: {} of {} to {} ({}, {days} days after {}); {} held",
        over.rows - over.held,
        over.table,
        json!(rule.then).as_str().unwrap_or_default(),
        rule.name,
        rule.since,
        over.held
    )
}

async fn run(app: &App, studios: &[TenantId], output: &Output) -> Result<u8, Failure> {
    let (mut rows, mut kept_out) = (0, 0);
    let mut meter = output.meter();
    let mut done = 0;
    for studio in studios {
        let gone = retention::run(app, *studio, |step| {
            done += step.rows as u64;
            meter.is_at(
                &format!("studio {}: {}", step.studio, step.rule),
                done,
                None,
            );
        });
        match gone.await {
            Ok(gone) => rows += gone,
            Err(fault) if retention::is_kept_out(&fault) => kept_out += 1,
            Err(fault) => return Err(failed(fault)),
        }
    }
    drop(meter);
    let mut text = format!("{rows} rows were removed or anonymised");
    if kept_out > 0 {
        text = format!("{text}\n{}", left_out(kept_out));
    }
    output.result(&text, &json!({ "rows": rows, "studios_left": kept_out }));
    Ok(u8::from(kept_out > 0))
}

fn left_out(studios: usize) -> String {
    format!("{studios} studios are frozen or suspended and keep what they have; run it again later")
}

fn failed(fault: Fault) -> Failure {
    Failure::setup(fault.to_string())
}
