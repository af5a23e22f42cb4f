//! What a studio's archive costs, beside what everybody would do: `pg_dump`, encrypted with age.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use studio::{
    app::App,
    jobs::archive::{Wanted, restore, write},
};
use uuid::Uuid;
use watertight_custody::archive::{Folder, Identities, Recipients};
use watertight_tenancy::support::RawConnection;
use watertight_terms::TenantId;

use crate::Trouble;

/// Writing and bringing back are to need no more, whatever the studio has.
const MEMORY_MIB: u64 = 256;

/// Writes the archive of a studio, dumps the same tables of both studios, and brings the studio's bookings back after they
/// were all removed. Gives the line that says how fast, or why it is not well.
pub(crate) async fn measure(
    app: &App,
    admin: &RawConnection,
    (url, studio): (&str, Uuid),
    folder: &Path,
) -> Result<String, Trouble> {
    let _ = fs::remove_dir_all(folder);
    let identities = Arc::new(Identities::generate());
    let recipients = Recipients::parse(&identities.recipients())?;
    let here = Folder::new(folder);
    begin_peak()?;
    let started = Instant::now();
    let written = write(app, TenantId(studio), &here, &recipients, say).await?;
    let (wrote_s, wrote_mib) = (started.elapsed().as_secs_f64(), peak_mib()?);
    let rows = written.data.1.rows();

    let started = Instant::now();
    let bytes = dump(url, &identities)?;
    let dumped_s = started.elapsed().as_secs_f64();
    let all: i64 = admin
        .value(
            "SELECT sum(n_live_tup)::bigint FROM pg_stat_user_tables WHERE schemaname = 'studio'",
            &[],
        )
        .await?;

    empty(admin, studio).await?;
    begin_peak()?;
    let started = Instant::now();
    let wanted = Wanted {
        archive: written.data.0.clone(),
        identities,
        into: None,
        without_unreadable: false,
    };
    let restored = restore(app, &wanted, say).await?;
    let (restored_s, restored_mib) = (started.elapsed().as_secs_f64(), peak_mib()?);
    let back: i64 = restored.tables.iter().map(|table| table.added).sum();
    let archive = fs::metadata(&written.data.0)?.len();
    fs::remove_dir_all(folder)?;
    let figure = format!(
        "an archive of {rows} rows: written in {wrote_s:.1} s ({:.0} rows a second, {} MiB, {wrote_mib} MiB of memory), {back} rows brought \
         back in {restored_s:.1} s ({:.0} a second, {restored_mib} MiB); pg_dump | age of about {all} rows of everybody: {dumped_s:.1} s ({:.0} rows a second, {} MiB)",
        rows as f64 / wrote_s,
        archive >> 20,
        back as f64 / restored_s,
        all as f64 / dumped_s,
        bytes >> 20,
    );
    if wrote_mib.max(restored_mib) >= MEMORY_MIB {
        return Err(format!("{figure}: of less than {MEMORY_MIB} MiB").into());
    }
    Ok(figure)
}

/// How far it is, every hundred thousand rows.
fn say(table: &str, rows: u64) {
    if rows.is_multiple_of(100_000) && rows > 0 {
        eprintln!("{table}: {rows} rows");
    }
}

/// Removes what the load made, with the triggers off as it did.
async fn empty(admin: &RawConnection, studio: Uuid) -> Result<(), Trouble> {
    let mut script = "SET session_replication_role = replica;".to_owned();
    for table in ["deliveries", "occupancy", "booking_versions", "bookings"] {
        script += &format!("DELETE FROM studio.{table} WHERE tenant_id = '{studio}';");
    }
    admin
        .script(&(script + "RESET session_replication_role"))
        .await?;
    Ok(())
}

/// What everybody would do, in one process less. Gives the bytes that were written.
fn dump(url: &str, identities: &Identities) -> Result<u64, Trouble> {
    let to: age::x25519::Recipient = identities.recipients().trim().parse()?;
    let to = [&to as &dyn age::Recipient];
    let programs = watertight_cluster::find_binaries()?;
    let mut child = Command::new(programs.folder.join("pg_dump"))
        .args(["--data-only", "--schema=studio", "--dbname", url])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = age::Encryptor::with_recipients(to.into_iter())?.wrap_output(Counted(0))?;
    let mut from = child.stdout.take().ok_or("pg_dump has no output")?;
    io::copy(&mut from, &mut out)?;
    let counted = out.finish()?;
    match child.wait()?.success() {
        true => Ok(counted.0),
        false => Err("pg_dump failed".into()),
    }
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kernel forgets how much memory this process had at most.
fn begin_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// How much it had at most since then.
fn peak_mib() -> Result<u64, Trouble> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.ok_or("the kernel does not say VmHWM")?.trim().parse()?;
    Ok(kib >> 10)
}
