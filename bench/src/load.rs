//! Rows by the million, made by the superuser of a private PostgreSQL as no product code can: straight into the tables, with
//! the triggers off that would tell each of them.

use std::{io::Write, time::Instant};

use studio::demo::seed::SeededStudio;
use watertight_tenancy::support::{Error, RawConnection};

/// So many bookings at a time.
const PART: i64 = 50_000;

/// Artists of a studio, named by their number, with one skill among ten.
const ARTISTS: &str = "INSERT INTO studio.artists (tenant_id, id, name, reference, skills)
    SELECT $1, gen_random_uuid(), 'artist ' || n, 'L-' || n, ARRAY['skill-' || n % $3] FROM generate_series(0, $2::bigint - 1) n";

/// Bookings `$4` to `$5` of a studio: each artist works one day after another, every third is an option. `$6` is the first day.
const BOOKINGS: &str = "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at,
      slice_starts, slice_ends, deed)
    SELECT $1, gen_random_uuid(), 'L-' || n, a.id, $2, CASE WHEN n % 3 = 0 THEN 'pencil' ELSE 'confirmed' END, s, e, ARRAY[s], ARRAY[e], 'create'
    FROM generate_series($4::bigint, $5::bigint) n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM studio.artists WHERE tenant_id = $1 AND reference LIKE 'L-%') a
      ON a.place = n % $3,
    LATERAL (SELECT timestamptz '2030-01-01 08:00Z' + (n / $3) * interval '1 day' AS s,
      timestamptz '2030-01-01 17:00Z' + (n / $3) * interval '1 day' AS e) t";

/// The same in the table that says whose time is taken, as the trigger puts it there.
const OCCUPANCY: &str = "INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, since, state, blocks)
    SELECT tenant_id, gen_random_uuid(), artist_id, tstzrange(starts_at, ends_at), 'booking', id, created_at, state, state = 'confirmed'
    FROM studio.bookings WHERE tenant_id = $1 AND reference LIKE 'L-%' AND starts_at >= $2::text::timestamptz AND starts_at < $3::text::timestamptz";

/// Fills the studios: `bookings` in all, of `artists` in each.
pub(crate) async fn fill(
    admin: &RawConnection,
    studios: &[SeededStudio],
    artists: i64,
    bookings: i64,
) -> Result<(), Error> {
    for table in ["bookings", "artists", "occupancy"] {
        admin
            .script(&format!("ALTER TABLE studio.{table} DISABLE TRIGGER ALL"))
            .await?;
    }
    let each = bookings / studios.len() as i64;
    for studio in studios {
        let skills = 10_i64;
        admin
            .run(ARTISTS, &[&studio.tenant, &artists, &skills])
            .await?;
        let started = Instant::now();
        for from in (0..each).step_by(usize::try_from(PART).unwrap_or(1)) {
            let to = (from + PART).min(each) - 1;
            admin
                .run(
                    BOOKINGS,
                    &[
                        &studio.tenant,
                        &studio.projects.first(),
                        &artists,
                        &from,
                        &to,
                    ],
                )
                .await?;
            progress(&studio.name, "bookings", to + 1, each, started);
        }
        // A year at a time.
        let years = each / artists / 365 + 1;
        for year in 0..years {
            let (from, to) = (
                format!("{}-01-01Z", 2030 + year),
                format!("{}-01-01Z", 2031 + year),
            );
            admin.run(OCCUPANCY, &[&studio.tenant, &from, &to]).await?;
            progress(&studio.name, "years of occupancy", year + 1, years, started);
        }
    }
    for table in ["bookings", "artists", "occupancy"] {
        admin
            .script(&format!("ALTER TABLE studio.{table} ENABLE TRIGGER ALL"))
            .await?;
    }
    admin
        .script("VACUUM ANALYZE studio.occupancy, studio.bookings, studio.artists")
        .await
}

fn progress(studio: &str, what: &str, done: i64, all: i64, started: Instant) {
    let seconds = started.elapsed().as_secs();
    // Standard error may be gone; what was measured is not.
    let _ = writeln!(
        std::io::stderr(),
        "{studio}: {done} of {all} {what}, {seconds} s"
    );
}
