//! Two operators on duty: what they run, and what they must never read.

use std::{path::PathBuf, process::Command};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use watertight_tenancy::{
    login_url,
    support::{RawConnection, state},
};
use watertight_terms::Random;

use crate::world::World;

/// Two operators, each with a login and a configuration of their own.
pub(crate) struct Operators<'a> {
    world: &'a World,
    urls: [SecretString; 2],
    files: [PathBuf; 2],
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) value: Value,
    pub(crate) error: String,
}

impl<'a> Operators<'a> {
    pub(crate) async fn of(world: &'a World) -> Self {
        let name = format!("second_{}", Random::system().uuid().simple());
        world
            .as_admin()
            .await
            .script(&format!(
                "CREATE ROLE {name} LOGIN INHERIT PASSWORD 'second'; GRANT studio_ops TO {name}"
            ))
            .await
            .unwrap();
        let second = login_url(&world.admin, &name, &"second".into()).unwrap();
        let first = world.config.database.ops_url.clone().unwrap();
        let file = world.config.keys.location.with_file_name("studio.toml");
        let other = file.with_file_name("second-operator.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace(first.expose_secret(), second.expose_secret());
        studio::commands::write_private(&other, &text).unwrap();
        Self {
            world,
            urls: [first, second],
            files: [file, other],
        }
    }

    /// Runs `studio incident …` of the first studio as one of them.
    pub(crate) async fn run(&self, operator: usize, arguments: &[&str]) -> Said {
        let tenant = self.world.studios[0].tenant.to_string();
        let all = [&["incident"], arguments, &["--studio", &tenant]].concat();
        self.studio(operator, &all).await
    }

    /// Runs `studio …` as one of them.
    pub(crate) async fn studio(
        &self,
        operator: usize,
        arguments: &[impl AsRef<std::ffi::OsStr>],
    ) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_studio"));
        command.arg("--config").arg(&self.files[operator]);
        command.args(["--format", "json"]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        Said {
            code: output.status.code().unwrap(),
            value: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same, which must do what it was called for.
    pub(crate) async fn done(&self, operator: usize, arguments: &[&str]) -> Value {
        let said = self.run(operator, arguments).await;
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.value
    }

    /// Opens an incident as the first; gives its id.
    pub(crate) async fn open(&self, more: &[&str]) -> String {
        let all = [
            &["open", "--kind", "stolen-session", "--reason", "a drill"],
            more,
        ]
        .concat();
        let opened = self.done(0, &all).await;
        opened["incident"].as_str().unwrap().to_owned()
    }

    /// Fails unless neither of them reads a row of any studio, or freezes one past an incident.
    pub(crate) async fn read_nothing(&self) {
        for url in &self.urls {
            let raw = RawConnection::connect(url).await.unwrap();
            for sql in [
                "SELECT count(*) FROM studio.artists",
                "SELECT count(*) FROM studio.bookings",
                "SELECT count(*) FROM studio.alerts",
                "SELECT count(*) FROM tenancy.members",
                "SELECT count(*) FROM tenancy.studios",
                "SELECT count(*) FROM ledger.entries",
                "SELECT count(*) FROM tenancy.isolations",
                "SELECT count(*) FROM incident.incidents",
                "SELECT tenancy.freeze_mark(gen_random_uuid())",
                "SELECT tenancy.thaw(gen_random_uuid())",
                "SELECT tenancy.lift_isolations(gen_random_uuid(), gen_random_uuid())",
                "SELECT tenancy.enter('v1')",
            ] {
                let refused = raw.run(sql, &[]).await.unwrap_err();
                assert_eq!(state(&refused), "42501", "{sql}");
            }
        }
    }
}

/// Asks a process for a list of that studio; gives status and problem type.
pub(crate) async fn ask(world: &World, base: &str, studio: usize, part: &str) -> (u16, String) {
    let token = world.token(studio, part);
    let asked = world
        .http
        .get(format!("{base}/v1/artists"))
        .bearer_auth(token);
    let answer = asked.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (status, body["type"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn frozen() -> (u16, String) {
    (403, "/problems/frozen".to_owned())
}

/// The id of somebody in the first studio.
pub(crate) async fn member_id(world: &World, part: &str) -> String {
    let sql = "SELECT id::text FROM tenancy.members WHERE tenant_id = $1 AND subject = $2";
    let (tenant, subject) = (
        &world.studios[0].tenant,
        &world.studios[0].person(part).subject,
    );
    world
        .as_admin()
        .await
        .value(sql, &[tenant, subject])
        .await
        .unwrap()
}
