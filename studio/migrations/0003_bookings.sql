-- Bookings as studios know them: states, slices, ranks, challenges and their history; time off.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

ALTER TABLE studio.bookings
  DROP CONSTRAINT bookings_state_check,
  ADD CONSTRAINT bookings_state CHECK (state IN
    ('hold', 'pencil', 'confirmed', 'in_progress', 'completed', 'released', 'cancelled')),
  -- The times that it takes, in order; `starts_at` and `ends_at` are the first and the last of them.
  ADD COLUMN slice_starts timestamptz,
  ADD COLUMN slice_ends timestamptz,
  -- The days as they were asked for, where it was booked by days.
  ADD COLUMN from_day date,
  ADD COLUMN from_part text CHECK (from_part IN ('am', 'pm')),
  ADD COLUMN to_day date,
  ADD COLUMN to_part text CHECK (to_part IN ('am', 'pm')),
  -- A hold ends by itself.
  ADD COLUMN expires_at timestamptz,
  -- The later option that asks this one to confirm or release, and until when.
  ADD COLUMN challenged_by uuid,
  ADD COLUMN answer_by timestamptz,
  ADD COLUMN rate_unit text CHECK (rate_unit IN ('day', 'half_day', 'hour')),
  ADD COLUMN rate_minor bigint CHECK (rate_minor BETWEEN 0 AND 1000000000000),
  ADD COLUMN rate_currency text CHECK (rate_currency ~ '^[A-Z]{3}$'),
  ADD COLUMN ended_at timestamptz,
  ADD COLUMN ended_by text,
  -- What made this version: `create`, `confirm` …
  ADD COLUMN deed text NOT NULL DEFAULT 'create';
-- A type changes with USING on the heap itself, which row security does not hide from the owner.
ALTER TABLE studio.bookings
  ALTER slice_starts TYPE timestamptz[] USING ARRAY[starts_at],
  ALTER slice_ends TYPE timestamptz[] USING ARRAY[ends_at],
  ALTER deed DROP DEFAULT;
ALTER TABLE studio.bookings
  ALTER slice_starts SET NOT NULL,
  ALTER slice_ends SET NOT NULL,
  ALTER from_part SET STATISTICS 0,
  ALTER to_part SET STATISTICS 0,
  ALTER rate_unit SET STATISTICS 0,
  ALTER rate_currency SET STATISTICS 0,
  ALTER ended_by SET STATISTICS 0,
  ALTER deed SET STATISTICS 0,
  ADD CONSTRAINT bookings_slices CHECK (cardinality(slice_starts) BETWEEN 1 AND 100
    AND cardinality(slice_ends) = cardinality(slice_starts)
    AND slice_starts[1] = starts_at AND slice_ends[cardinality(slice_ends)] = ends_at),
  ADD CONSTRAINT bookings_days CHECK ((from_day IS NULL) = (to_day IS NULL)),
  ADD CONSTRAINT bookings_hold CHECK (state <> 'hold' OR expires_at IS NOT NULL),
  ADD CONSTRAINT bookings_challenge CHECK ((challenged_by IS NULL) = (answer_by IS NULL)
    AND (challenged_by IS NULL OR state = 'pencil')),
  ADD CONSTRAINT bookings_rate CHECK (num_nulls(rate_unit, rate_minor, rate_currency) IN (0, 3));
SELECT tenancy.add_reference('studio.bookings', 'bookings_challenger',
  'FOREIGN KEY (tenant_id, challenged_by) REFERENCES studio.bookings (tenant_id, id)');
CREATE INDEX bookings_due_holds ON studio.bookings (tenant_id, expires_at) WHERE state = 'hold';
CREATE INDEX bookings_due_answers ON studio.bookings (tenant_id, answer_by) WHERE answer_by IS NOT NULL;
GRANT UPDATE (slice_starts, slice_ends, from_day, from_part, to_day, to_part, expires_at, challenged_by, answer_by,
  rate_unit, rate_minor, rate_currency, ended_at, ended_by, deed) ON studio.bookings TO {app}_app;

-- Every version of a booking, with who made it. Written by the trigger below and by nothing else: the
-- app role may not.
CREATE TABLE studio.booking_versions (LIKE studio.bookings);
ALTER TABLE studio.booking_versions
  ADD COLUMN source_id uuid NOT NULL,
  ADD COLUMN actor text NOT NULL,
  ADD COLUMN actor_role text NOT NULL,
  ADD PRIMARY KEY (tenant_id, id),
  ADD CONSTRAINT booking_versions_once UNIQUE (tenant_id, source_id, version);
SELECT tenancy.protect('studio.booking_versions');
SELECT tenancy.add_reference('studio.booking_versions', 'booking_versions_of',
  'FOREIGN KEY (tenant_id, source_id) REFERENCES studio.bookings (tenant_id, id)');
GRANT SELECT ON studio.booking_versions TO {app}_app;
CREATE POLICY gate ON studio.booking_versions FOR INSERT TO {app}_gate WITH CHECK (true);
GRANT INSERT ON studio.booking_versions TO {app}_gate;

CREATE TABLE studio.time_off (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  artist_id uuid NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  from_day date,
  from_part text CHECK (from_part IN ('am', 'pm')),
  to_day date,
  to_part text CHECK (to_part IN ('am', 'pm')),
  notes text NOT NULL DEFAULT '' CHECK (length(notes) <= 10000),
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT time_off_window CHECK (starts_at < ends_at),
  CONSTRAINT time_off_days CHECK ((from_day IS NULL) = (to_day IS NULL)),
  CONSTRAINT time_off_artist FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id)
);
CREATE INDEX time_off_by_artist ON studio.time_off (tenant_id, artist_id, starts_at, id);
CREATE INDEX time_off_by_time ON studio.time_off (tenant_id, starts_at, id);
SELECT tenancy.protect('studio.time_off', own_column => 'artist_id');
GRANT SELECT, INSERT, UPDATE (version, updated_at, artist_id, starts_at, ends_at, from_day, from_part, to_day, to_part,
  notes, archived_at) ON studio.time_off TO {app}_app;

-- Whatever has an artist's time now: options and holds as well, which do not block. Kept by triggers of
-- the tables that the time comes from, and by nothing else, so it cannot say anything but they do.
REVOKE INSERT, UPDATE (version, blocks) ON studio.occupancy FROM {app}_app;
ALTER TABLE studio.occupancy
  DROP COLUMN version,
  ADD COLUMN state text,
  ADD COLUMN since timestamptz,
  ADD COLUMN starts_at timestamptz NOT NULL GENERATED ALWAYS AS (lower(slice)) STORED,
  ADD COLUMN ends_at timestamptz NOT NULL GENERATED ALWAYS AS (upper(slice)) STORED;
ALTER TABLE studio.occupancy ALTER state SET STATISTICS 0;
-- Time is asked for on these: `&&` is not leakproof, hence never an index condition under row security.
CREATE INDEX occupancy_by_artist ON studio.occupancy (tenant_id, artist_id, starts_at, ends_at);
CREATE POLICY gate ON studio.occupancy TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON studio.occupancy TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Puts the slices of a source in the place of those it had.
CREATE FUNCTION studio.occupy(tenant uuid, artist uuid, kind text, source uuid, since timestamptz, state text,
  blocks boolean, starts timestamptz[], ends timestamptz[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM studio.occupancy o WHERE o.tenant_id = tenant AND o.source_id = source;
  INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, since, state, blocks)
    SELECT tenant, gen_random_uuid(), artist, tstzrange(s, e, '[)'), occupy.kind, source, occupy.since, occupy.state, occupy.blocks
    FROM unnest(starts, ends) slices(s, e);
END $$;

-- Refuses a row whose studio is not the one that the app's transaction is bound to: a statement may have
-- cleared the context while it ran.
CREATE FUNCTION studio.expect_bound(tenant uuid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF session_user = '{app}_app' AND tenancy.tenant_id() IS DISTINCT FROM tenant THEN
    RAISE EXCEPTION 'context lost' USING ERRCODE = 'ZT002';
  END IF;
END $$;

CREATE FUNCTION studio.keep_booking() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  who_role text := coalesce(tenancy.role(), 'operator');
  who text := CASE who_role WHEN 'operator' THEN 'operator:' || session_user
    WHEN 'service' THEN 'service:' || tenancy.actor() ELSE tenancy.actor() END;
  lives boolean := NEW.archived_at IS NULL AND NEW.state NOT IN ('released', 'cancelled');
BEGIN
  PERFORM studio.expect_bound(NEW.tenant_id);
  PERFORM studio.occupy(NEW.tenant_id, NEW.artist_id, 'booking', NEW.id, NEW.created_at, NEW.state,
    NEW.state IN ('confirmed', 'in_progress', 'completed'),
    CASE WHEN lives THEN NEW.slice_starts ELSE '{}' END, CASE WHEN lives THEN NEW.slice_ends ELSE '{}' END);
  -- Every column that both tables have, by its name.
  INSERT INTO studio.booking_versions SELECT kept.*
    FROM jsonb_populate_record(NULL::studio.booking_versions, to_jsonb(NEW) || jsonb_build_object(
      'id', gen_random_uuid(), 'source_id', NEW.id, 'actor', who, 'actor_role', who_role)) kept;
  IF lives AND NEW.state = 'hold' THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'holds', NEW.expires_at);
  END IF;
  IF lives AND NEW.answer_by IS NOT NULL THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'challenges', NEW.answer_by);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION studio.keep_time_off() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  lives boolean := NEW.archived_at IS NULL;
BEGIN
  PERFORM studio.expect_bound(NEW.tenant_id);
  PERFORM studio.occupy(NEW.tenant_id, NEW.artist_id, 'time_off', NEW.id, NEW.created_at, 'time_off', true,
    CASE WHEN lives THEN ARRAY[NEW.starts_at] ELSE '{}' END, CASE WHEN lives THEN ARRAY[NEW.ends_at] ELSE '{}' END);
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.keep_booking(), studio.keep_time_off() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER keep AFTER INSERT OR UPDATE ON studio.bookings
  FOR EACH ROW EXECUTE FUNCTION studio.keep_booking();
ALTER TABLE studio.bookings ENABLE ALWAYS TRIGGER keep;
CREATE TRIGGER keep AFTER INSERT OR UPDATE ON studio.time_off
  FOR EACH ROW EXECUTE FUNCTION studio.keep_time_off();
ALTER TABLE studio.time_off ENABLE ALWAYS TRIGGER keep;

-- A pencil's rank for its artist: its place by age among the pencils to which it is joined by overlap,
-- directly or through others. `reached` grows from each pencil's own slices: a stretch of time becomes as
-- long as what lies in it, and whoever lies in it with one slice brings the others. With the rights of
-- whoever asks, and all at once: row security costs each statement what it costs.
CREATE FUNCTION studio.ranks_of(tenant uuid, bookings uuid[]) RETURNS TABLE (booking uuid, rank integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- No slice is longer than two years: with that, both ends of the window are conditions of the index.
  RETURN QUERY WITH RECURSIVE reached (root, artist_id, since, starts_at, ends_at) AS (
    SELECT o.source_id, o.artist_id, o.since, o.starts_at, o.ends_at FROM studio.occupancy o
      WHERE o.tenant_id = tenant AND o.source_id = ANY (bookings) AND o.state = 'pencil'
    UNION
    SELECT r.root, r.artist_id, r.since, step.starts_at, step.ends_at FROM reached r CROSS JOIN LATERAL (
      SELECT min(o.starts_at), max(o.ends_at) FROM studio.occupancy o
        WHERE o.tenant_id = tenant AND o.artist_id = r.artist_id AND o.state = 'pencil'
          AND o.starts_at < r.ends_at AND o.starts_at > r.starts_at - interval '732 days' AND o.ends_at > r.starts_at
      UNION ALL
      SELECT other.starts_at, other.ends_at FROM studio.occupancy o
        JOIN studio.occupancy other ON other.tenant_id = tenant AND other.source_id = o.source_id
        WHERE o.tenant_id = tenant AND o.artist_id = r.artist_id AND o.state = 'pencil'
          AND o.starts_at < r.ends_at AND o.starts_at > r.starts_at - interval '732 days' AND o.ends_at > r.starts_at
          AND NOT (other.starts_at < r.ends_at AND other.ends_at > r.starts_at)
    ) step (starts_at, ends_at)
  )
  SELECT r.root, count(DISTINCT o.source_id)::integer FROM reached r JOIN studio.occupancy o
    ON o.tenant_id = tenant AND o.artist_id = r.artist_id AND o.state = 'pencil'
      AND o.starts_at < r.ends_at AND o.starts_at > r.starts_at - interval '732 days' AND o.ends_at > r.starts_at
      AND (o.since, o.source_id) <= (r.since, r.root)
    GROUP BY r.root;
END $$;
GRANT EXECUTE ON FUNCTION studio.ranks_of(uuid, uuid[]) TO {app}_app;

-- Bookings from before get their slices in `occupancy` and their first version by the trigger.
SELECT tenancy.open_backfill('studio.bookings', ARRAY['tenant_id', 'deed']);
SET LOCAL ROLE {app}_backfill;
SET LOCAL row_security = on;
UPDATE studio.bookings SET deed = 'migrate';
SET LOCAL ROLE {app}_owner;
SET LOCAL row_security = off;
SELECT tenancy.close_backfill('studio.bookings');
ALTER TABLE studio.occupancy ALTER state SET NOT NULL, ALTER since SET NOT NULL;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
