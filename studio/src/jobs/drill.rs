//! A drill: a studio's archives are written, brought back into a cluster of their own, written from there once more, and
//! compared row by row. What nobody ever brought back is no backup.
//!
//! ```text
//! write       both archives, to an identity that is drawn for the drill and is gone with it
//! Scratch     a private PostgreSQL with the schema of this release and the keys of this installation
//! keys, rows  as after the loss of everything but the key file and the archives
//! write       from there; the sums of both are to be the same
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::{ExposeSecret, SecretString};
use watertight_cluster::{Cluster, Options};
use watertight_custody::archive::{
    ArchiveFault, Folder, Identities, Kind, Manifest, Recipients, Seen, Sum, read,
};
use watertight_tenancy::{Call, Operator, Passwords, login_url};
use watertight_terms::{Fault, TenantId};

use super::archive::{RestoreFault, Wanted, Written, restore, write};
use crate::{
    app::App,
    commands::{Failure, installation, key_tables},
    config::Config,
};

/// A studio of that id, as it is in the archive and before anything of it is there.
const MAKE: Call = Call::new(
    "INSERT INTO tenancy.studios (tenant_id, name, zone, organization, lock_key) VALUES ($1, 'drill', 'UTC', 'drill', 1) RETURNING true",
);

/// Wrapped keys, by their tables. As superuser: a key is never brought back into a cluster that works.
const KEYS: [(&str, Call); 2] = [
    (
        "vault.studio_keys",
        Call::new(
            "INSERT INTO vault.studio_keys SELECT r.* FROM jsonb_populate_record(NULL::vault.studio_keys, $1::text::jsonb) r RETURNING true",
        ),
    ),
    (
        "vault.person_keys",
        Call::new(
            "INSERT INTO vault.person_keys SELECT r.* FROM jsonb_populate_record(NULL::vault.person_keys, $1::text::jsonb) r RETURNING true",
        ),
    ),
];

/// What a drill came to.
#[derive(Debug)]
pub struct Drilled {
    /// The studio's rows.
    pub data: Manifest,
    /// Its keys.
    pub keys: Manifest,
    /// Tables that came back as something else: none, when all is well.
    pub differing: Vec<String>,
}

/// Why a drill did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DrillFault {
    /// The archives.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// Bringing them back.
    #[error("bringing it back: {0}")]
    Restore(#[from] RestoreFault),
    /// It was wanted no more.
    #[error("it was interrupted: nothing was changed, and nothing of it is left")]
    Stopped,
    /// The scratch cluster.
    #[error("the cluster of the drill: {0}")]
    Scratch(String),
}

impl From<Fault> for DrillFault {
    fn from(fault: Fault) -> Self {
        Self::Archive(fault.into())
    }
}

/// Drills with one studio. `folder` is where everything of it is until it ends; `tell` hears what is done.
///
/// # Errors
/// When it does not come to its end; what came back and differs is no error, but an answer.
pub async fn drill(
    app: &App,
    studio: TenantId,
    folder: &Path,
    mut tell: impl FnMut(&str),
) -> Result<Drilled, DrillFault> {
    let identities = Arc::new(Identities::generate());
    let recipients = Recipients::parse(&identities.recipients())?;
    tell("writing the archives");
    let there = Folder::new(folder.join("archives"));
    let written = write(app, studio, &there, &recipients, |_, _| {}).await?;
    tell("starting a cluster");
    let scratch = Scratch::start(app, folder).await?;
    scratch.take(studio, &written, &identities, app).await?;
    tell("bringing them back");
    let wanted = Wanted {
        archive: written.data.0.clone(),
        identities: Arc::clone(&identities),
        into: None,
        without_unreadable: false,
    };
    restore(&scratch.app, &wanted, |_, _| {}).await?;
    tell("writing them from there, to compare");
    let here = Folder::new(folder.join("again"));
    let again = write(&scratch.app, studio, &here, &recipients, |_, _| {}).await?;
    let differing = [(&written.data, &again.data), (&written.keys, &again.keys)]
        .into_iter()
        .flat_map(|(before, after)| differing(&before.1, &after.1))
        .collect();
    Ok(Drilled {
        data: written.data.1,
        keys: written.keys.1,
        differing,
    })
}

/// The tables that are to come back and came back as something else. Keys are all to come back.
fn differing(before: &Manifest, after: &Manifest) -> Vec<String> {
    let is_asked = |sum: &&Sum| {
        let heads = &mut before.head.tables.iter();
        before.head.kind == Kind::Keys
            || heads.any(|head| head.table == sum.table && head.is_restored)
    };
    let asked = before.sums.iter().filter(is_asked);
    asked
        .filter(|sum| !after.sums.contains(sum))
        .map(|sum| sum.table.clone())
        .collect()
}

/// A cluster with the schema of this release and nobody in it.
struct Scratch {
    app: App,
    admin: SecretString,
    cluster: Option<Cluster>,
    folder: PathBuf,
}

impl Scratch {
    async fn start(app: &App, folder: &Path) -> Result<Self, DrillFault> {
        let wrong = |error: &dyn std::fmt::Display| DrillFault::Scratch(error.to_string());
        let pg = folder.join("pg");
        let cluster = Cluster::start(&Options::new(&pg)).map_err(|error| wrong(&error))?;
        let admin = SecretString::from(cluster.admin_url());
        let config = installed(app, &admin)
            .await
            .map_err(|error| wrong(&error))?;
        let verifier = app.verifier.clone();
        let other = App::new(config, verifier, app.clock.clone(), app.random.clone());
        let other = other.map_err(|error| wrong(&error))?;
        other.examine().await.map_err(|error| wrong(&error))?;
        Ok(Self {
            app: other,
            admin,
            cluster: Some(cluster),
            folder: pg,
        })
    }

    /// Makes the studio and gives it its keys.
    async fn take(
        &self,
        studio: TenantId,
        written: &Written,
        identities: &Identities,
        app: &App,
    ) -> Result<(), DrillFault> {
        let wrong = |error: &dyn std::fmt::Display| DrillFault::Scratch(error.to_string());
        let admin = Operator::connect(&self.admin).await;
        let admin = admin.map_err(|error| wrong(&error))?;
        admin.rows(MAKE, &[&studio.0]).await?;
        let path = &written.keys.0;
        let file = fs::File::open(path).map_err(|error| wrong(&error))?;
        let mut rows = Vec::new();
        read(file, identities, &(app.desk.checkpoint_keys)(), |seen| {
            if let Seen::Row { table, row } = seen {
                rows.push((table.to_owned(), row.to_owned()));
            }
            Ok(())
        })?;
        for (table, row) in &rows {
            let call = KEYS.iter().find(|(name, _)| name == table);
            let (_, call) = call.ok_or_else(|| Fault::bug(format!("keys of `{table}`")))?;
            admin.rows(*call, &[row]).await?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its data is a studio's: nothing of it stays.
        if let Some(cluster) = self.cluster.take() {
            let _ = cluster.discard();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Installs this release in an empty cluster; gives the configuration of whoever works in it.
async fn installed(app: &App, admin: &SecretString) -> Result<Config, Failure> {
    let setup = |error: watertight_tenancy::InstallFault| Failure::setup(error.to_string());
    let password = || SecretString::from(hex::encode(app.random.bytes::<24>()));
    let passwords = Passwords {
        app: password(),
        migrate: password(),
        operator: password(),
    };
    let mut config = Config::clone(&app.config);
    let prefix = config.database.prefix.clone();
    let url = |login: &str, password: &SecretString| {
        let url = login_url(admin, &format!("{prefix}_{login}"), password);
        url.map(|url| SecretString::from(url.expose_secret().to_owned()))
            .map_err(setup)
    };
    config.database.url = url("app", &passwords.app)?;
    let owner = url("migrate", &passwords.migrate)?;
    // The studio's log is elsewhere.
    config.ledger.checkpoint_dir = None;
    let installation = installation(&prefix)?;
    installation.roles(admin, &passwords).await.map_err(setup)?;
    let tables = key_tables(&config)?;
    installation.migrate(&owner, &tables).await.map_err(setup)?;
    config.database.owner_url = Some(owner);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use watertight_custody::archive::{FORMAT, Head, TableHead};

    use super::*;

    /// An archive of two tables, of which the second is not brought back.
    fn manifest(kind: Kind, sums: [(&str, &str); 2]) -> Manifest {
        let tables = sums.iter().zip([true, false]);
        let tables = tables.map(|((table, _), is_restored)| TableHead {
            table: (*table).to_owned(),
            columns: Vec::new(),
            is_restored,
        });
        let head = Head {
            format: FORMAT.to_owned(),
            kind,
            studio: TenantId(uuid::Uuid::nil()),
            made_at: jiff::Timestamp::UNIX_EPOCH,
            pair: uuid::Uuid::nil(),
            schema: String::new(),
            tables: tables.collect(),
        };
        let sums = sums.map(|(table, sha256)| Sum {
            table: table.to_owned(),
            rows: 1,
            sha256: sha256.to_owned(),
        });
        Manifest {
            head,
            sums: sums.into(),
            checkpoint: None,
        }
    }

    #[test]
    fn what_is_to_come_back_and_came_as_something_else_is_named() {
        let before = manifest(Kind::Data, [("work", "a"), ("told", "a")]);
        assert_eq!(differing(&before, &before), Vec::<String>::new());
        let other = manifest(Kind::Data, [("work", "b"), ("told", "b")]);
        assert_eq!(differing(&before, &other), ["work"]);
        let missing = manifest(Kind::Data, [("others", "a"), ("told", "a")]);
        assert_eq!(differing(&before, &missing), ["work"]);
        // Of keys all are to come back.
        let keys = manifest(Kind::Keys, [("work", "a"), ("told", "a")]);
        let other = manifest(Kind::Keys, [("work", "a"), ("told", "b")]);
        assert_eq!(differing(&keys, &other), ["told"]);
    }
}
