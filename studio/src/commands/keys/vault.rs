//! The key-encryption keys of the vault: a new one is current at once for whatever is sealed from then
//! on; the rest is sealed anew by the worker, or here.

use serde_json::json;
use watertight_terms::{Key, KeyFile, Random};

use crate::{
    commands::{Failure, Output, app, install::write_private},
    config::{Config, Provider},
    jobs::renewal::{Progress, renew},
};

/// First the database notes what the new key makes of a known value, then the key file names it.
pub(super) async fn rotate(config: Config, output: &Output) -> Result<u8, Failure> {
    let setup = |error: watertight_terms::KeyError| Failure::setup(error.to_string());
    if config.keys.provider != Provider::File {
        return Err(Failure::refused(
            "[keys] provider holds the keys: make another one current there, then `studio keys reseal`",
        ));
    }
    let location = config.keys.location.clone();
    let app = app(config).await?;
    let file = KeyFile::read(&location).map_err(setup)?;
    let ring = file.ring("vault").map_err(setup)?.clone();
    let vault = &app.desk.vault;
    let known = vault.numbers_known(&app.tenancy).await;
    let known = known.map_err(|fault| Failure::setup(fault.to_string()))?;
    let used = ring.iter().map(|(number, _)| number).chain(known).max();
    let number = used
        .unwrap_or(0)
        .checked_add(1)
        .ok_or_else(|| Failure::refused("the numbers of keys are used up"))?;
    let ring = ring.rotated(number, Key::new(Random::system().bytes()));
    write_private(&location, &file.with("vault", ring).to_text())?;
    // As any server does at its start: with the first that looks, the new key is noted.
    let checked = vault.check(&app.tenancy).await;
    checked.map_err(|fault| Failure::setup(fault.to_string()))?;
    output.result(
        &format!("vault key {number} is current; `studio work` or `studio keys reseal` seals the rest anew, then retire the old one"),
        &json!({ "ring": "vault", "current": number }),
    );
    Ok(0)
}

/// Seals anew what an old key sealed, with progress.
pub(super) async fn reseal(config: Config, output: &Output) -> Result<u8, Failure> {
    let app = app(config).await?;
    let (mut steps, mut whole) = (0, None);
    let mut meter = output.meter();
    let kept_out = renew(&app, |progress| {
        steps += 1;
        let Progress {
            studio,
            studios_left,
            ..
        } = progress;
        let left = progress.people_left.unsigned_abs();
        // The first step of a studio tells how many they are.
        whole = whole
            .filter(|(of, _)| *of == studio)
            .or(Some((studio, left)));
        let all = whole.map_or(left, |(_, all)| all);
        let what = format!("people of studio {studio}, before {studios_left} others");
        meter.is_at(&what, all.saturating_sub(left), Some(all));
    });
    let kept_out = kept_out
        .await
        .map_err(|fault| Failure::setup(fault.to_string()))?;
    let text = match kept_out {
        0 => "everything is sealed with current keys".to_owned(),
        _ => format!(
            "{kept_out} studios are frozen or suspended and keep their old keys; run it again later"
        ),
    };
    let json = json!({ "ring": "vault", "steps": steps, "studios_left": kept_out });
    output.result(&text, &json);
    Ok(u8::from(kept_out > 0))
}

/// First the database, which knows whether anything needs it, then the key file forgets it.
pub(super) async fn retire(config: Config, output: &Output, number: i16) -> Result<u8, Failure> {
    let setup = |error: watertight_terms::KeyError| Failure::setup(error.to_string());
    let (location, provider) = (config.keys.location.clone(), config.keys.provider);
    let app = app(config).await?;
    let file = KeyFile::read(&location).map_err(setup)?;
    if provider == Provider::File {
        let ring = file.ring("vault").map_err(setup)?;
        if ring.current().map(|(current, _)| current) == Some(number) {
            return Err(Failure::refused(format!(
                "key {number} is the current one; rotate first"
            )));
        }
    }
    let retired = app.desk.vault.retire(&app.tenancy, number).await;
    match retired.map_err(|fault| Failure::setup(fault.to_string()))? {
        Some(0) => {}
        Some(needed) => {
            return Err(Failure::refused(format!(
                "key {number} still wraps the keys of {needed} studios; run `studio keys reseal` first"
            )));
        }
        // One that was cut off between the two.
        None if provider == Provider::File && holds(&file, number).map_err(setup)? => {}
        None => {
            return Err(Failure::refused(format!(
                "there is no vault key {number} that is in use"
            )));
        }
    }
    if provider == Provider::File {
        let ring = file.ring("vault").map_err(setup)?.clone().without(number);
        write_private(&location, &file.with("vault", ring).to_text())?;
    }
    output.result(
        &format!("vault key {number} is retired; nothing needs it"),
        &json!({ "ring": "vault", "retired": number }),
    );
    Ok(0)
}

fn holds(file: &KeyFile, number: i16) -> Result<bool, watertight_terms::KeyError> {
    Ok(file.ring("vault")?.get(number).is_some())
}
