//! How much of what is planted is found, and how often something is said for nothing.
//!
//! ```text
//! cargo run -p studio-bench -- watch --seed 7
//! ```
//!
//! A month of ten studios is made from the seed, with habits of its own for each person; into nine of them
//! misuse is planted, three kinds each, and what strangers do to all of them. The detectors read it entry by
//! entry with the thresholds that a server has, and are restarted every night from what they saved.

mod dice;
mod judge;
mod life;
mod misuse;

use std::{fs, path::PathBuf};

use serde_json::json;
use watertight_watch::{Alert, PlatformWatch, Seen, StudioWatch, Thresholds};

use dice::Dice;
use judge::Verdict;
use life::{DAY_S, Event, Studio};
use misuse::{Misuse, Plant};

use crate::Trouble;

/// Studios with misuse, and one without.
const STUDIOS: usize = 19;
/// Kinds of misuse in a studio.
const KINDS_EACH: usize = 3;
/// How often strangers try each of theirs.
const STRANGERS_TRY: usize = 7;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Decides the whole month
    #[arg(long)]
    seed: u64,
    /// So many seeds from that one on, each a month of its own
    #[arg(long, default_value_t = 1)]
    months: u64,
    /// Writes each studio's ledger there, for `studio watch replay`
    #[arg(long, value_name = "FOLDER")]
    ledgers: Option<PathBuf>,
    /// Says what was missed and what was said for nothing
    #[arg(long)]
    explain: bool,
}

/// Fails when a month is judged worse than what is promised.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let mut all = Verdict::default();
    let mut failed = Vec::new();
    for seed in arguments.seed..arguments.seed + arguments.months {
        let verdict = month(seed, arguments)?;
        println!("seed {seed}: {verdict}");
        if !verdict.is_good() {
            failed.push(seed);
        }
        all.add(verdict);
    }
    println!("all: {all}");
    print!("{}", all.by_kind());
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("months below what is promised: {failed:?}").into()),
    }
}

fn month(seed: u64, arguments: &Arguments) -> Result<Verdict, Trouble> {
    let mut dice = Dice::new(seed);
    let mut verdict = Verdict::default();
    let turn = dice.between(0, 8) as usize;
    for number in 0..STUDIOS {
        let studio = Studio::make(&mut dice.part());
        let mut events = studio.live(&mut dice.part());
        let mut plants: Vec<Plant> = Vec::new();
        if number + 1 < STUDIOS {
            for place in 0..KINDS_EACH {
                let kinds = Misuse::OF_MEMBERS;
                let misuse = kinds[(number * KINDS_EACH + place + turn) % kinds.len()];
                let taken: Vec<String> = plants
                    .iter()
                    .filter_map(|plant| plant.subject.clone())
                    .collect();
                plants.extend(misuse::by_member(
                    misuse,
                    &studio,
                    &taken,
                    &mut dice.part(),
                    &mut events,
                ));
            }
        }
        events.sort_by_key(|event| event.at_s);
        let lines: Vec<String> = events
            .iter()
            .enumerate()
            .map(|(seq, event)| event.line(seq).to_string())
            .collect();
        if let Some(folder) = &arguments.ledgers {
            fs::create_dir_all(folder)?;
            fs::write(
                folder.join(format!("{seed}-{number}.jsonl")),
                lines.join("\n"),
            )?;
        }
        let alerts = watch_studio(&events, &lines)?;
        verdict.add(judge::judge(
            &plants,
            &alerts,
            life::DAYS,
            arguments.explain,
        ));
    }
    verdict.add(strangers(&mut dice, arguments.explain)?);
    Ok(verdict)
}

fn watch_studio(events: &[Event], lines: &[String]) -> Result<Vec<Alert>, Trouble> {
    let thresholds = Thresholds::default();
    let mut watch = StudioWatch::default();
    let mut alerts = Vec::new();
    let mut day = 0;
    for (event, line) in events.iter().zip(lines) {
        if event.at_s / DAY_S > day {
            day = event.at_s / DAY_S;
            watch = serde_json::from_value(json!(watch))?;
        }
        alerts.extend(watch.observe(&Seen::parse(line)?, &thresholds));
    }
    Ok(alerts)
}

fn strangers(dice: &mut Dice, explain: bool) -> Result<Verdict, Trouble> {
    let mut refusals = misuse::noise(&mut dice.part());
    let plants: Vec<Plant> = Misuse::OF_STRANGERS
        .into_iter()
        .flat_map(|misuse| [misuse; STRANGERS_TRY])
        .map(|misuse| misuse::by_strangers(misuse, dice, &mut refusals))
        .collect();
    refusals.sort_by_key(|refusal| refusal.at);
    let thresholds = Thresholds::default();
    let mut watch = PlatformWatch::default();
    let mut alerts = Vec::new();
    for (number, refusal) in refusals.iter().enumerate() {
        if number % 1_000 == 0 {
            watch = serde_json::from_value(json!(watch))?;
        }
        alerts.extend(watch.observe(refusal, &thresholds));
    }
    Ok(judge::judge(&plants, &alerts, 0, explain))
}
