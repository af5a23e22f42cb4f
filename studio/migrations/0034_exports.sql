-- Exports: what owners asked to be given of their studio, of a person or of the ledger. The studio's service `custody`
-- makes them; they are sealed with the studio's key, and gone after days.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

CREATE TABLE studio.exports (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL CHECK (kind IN ('studio', 'person', 'ledger')),
  -- The person: an artist or a member.
  ref uuid,
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'ready', 'failed', 'expired')),
  -- Which try it is: whoever is still at an earlier one notices.
  attempt integer NOT NULL DEFAULT 0,
  -- Rows so far, and of how many.
  done bigint NOT NULL DEFAULT 0,
  total bigint NOT NULL DEFAULT 0,
  -- How many parts its JSON has.
  parts integer NOT NULL DEFAULT 0,
  -- Which personal fields are in it.
  opened text[] NOT NULL DEFAULT '{}',
  expires_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT exports_of_one CHECK ((kind = 'person') = (ref IS NOT NULL)),
  CONSTRAINT exports_end CHECK (state <> 'ready' OR expires_at IS NOT NULL)
);
-- The same is made once at a time.
CREATE UNIQUE INDEX exports_once ON studio.exports (tenant_id, kind, ref) NULLS NOT DISTINCT WHERE state IN ('queued', 'running');
CREATE INDEX exports_by_time ON studio.exports (tenant_id, created_at, id);
SELECT tenancy.protect('studio.exports');
CREATE POLICY owners ON studio.exports AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) = 'owner' OR (SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'custody');
CREATE POLICY owners_ask ON studio.exports AS RESTRICTIVE FOR INSERT TO {app}_app WITH CHECK ((SELECT tenancy.role()) = 'owner');
CREATE POLICY custody_makes ON studio.exports AS RESTRICTIVE FOR UPDATE TO {app}_app USING ((SELECT tenancy.role()) = 'service');
CREATE POLICY gate ON studio.exports TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (tenant_id, id, created_at, updated_at, kind, ref),
  UPDATE (version, updated_at, state, attempt, done, total, parts, opened, expires_at) ON studio.exports TO {app}_app;
GRANT SELECT, UPDATE (version, state) ON studio.exports TO {app}_gate;

-- The files, in pieces.
CREATE TABLE studio.export_parts (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  export_id uuid NOT NULL,
  -- Of which try: what an earlier one left goes.
  attempt integer NOT NULL,
  file text NOT NULL CHECK (file IN ('json', 'html')),
  n integer NOT NULL CHECK (n BETWEEN 0 AND 8191),
  sealed bytea NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT export_parts_once UNIQUE (tenant_id, export_id, attempt, file, n),
  CONSTRAINT export_parts_export FOREIGN KEY (tenant_id, export_id) REFERENCES studio.exports (tenant_id, id)
);
-- Nothing compresses what is sealed, and its key's number is read without the rest.
ALTER TABLE studio.export_parts ALTER sealed SET STORAGE EXTERNAL;
SELECT tenancy.protect('studio.export_parts');
-- Half a mebibyte each, thousands of an export: their entries are those of the export. The gate alone writes them.
DROP TRIGGER ledger_capture ON studio.export_parts;
SELECT vault.seals('studio.export_parts', 'studio', '{sealed}');
CREATE POLICY owners ON studio.export_parts AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) = 'owner' OR (SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'custody');
-- Nobody reads what is being made, or what is to go: from the instant at which somebody was forgotten.
CREATE POLICY ready ON studio.export_parts AS RESTRICTIVE FOR SELECT TO {app}_app
  USING (EXISTS (SELECT FROM studio.exports e WHERE e.tenant_id = export_parts.tenant_id AND e.id = export_parts.export_id
    AND e.attempt = export_parts.attempt AND e.state = 'ready'));
CREATE POLICY gate ON studio.export_parts TO {app}_gate
  USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()));
GRANT SELECT ON studio.export_parts TO {app}_app;
GRANT SELECT (export_id, attempt), INSERT, DELETE ON studio.export_parts TO {app}_gate;

-- The service reads what it gives out of the ledger.
CREATE POLICY exported ON ledger.entries FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'custody');
CREATE POLICY exported ON ledger.leaves FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'custody');

SET LOCAL ROLE {app}_gate;
-- Somebody of that id is in the studio, there are not too many, and the worker is told.
CREATE FUNCTION studio.begin_export() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM studio.expect_bound(NEW.tenant_id);
  IF NEW.ref IS NOT NULL AND NOT custody.is_there(NEW.tenant_id, 'person', NEW.ref) THEN
    RAISE EXCEPTION 'nobody of that id' USING ERRCODE = '23503', CONSTRAINT = 'exports_ref';
  END IF;
  -- One after the other: two at one time would count the same.
  PERFORM pg_advisory_xact_lock(hashtextextended('exports asked ' || NEW.tenant_id::text, 0));
  IF (SELECT count(*) FROM studio.exports e WHERE e.tenant_id = NEW.tenant_id
      AND (e.state IN ('queued', 'running') OR e.state = 'ready' AND e.expires_at > clock_timestamp())) >= 20 THEN
    RAISE EXCEPTION 'too many exports' USING ERRCODE = '23514', CONSTRAINT = 'exports_most';
  END IF;
  PERFORM jobs.schedule(NEW.tenant_id, 'exports', clock_timestamp());
  RETURN NEW;
END $$;

-- What is ready is over one day. The parts of what is begun anew, failed or over go: the worker's work, so that whoever
-- forgets somebody or closes the studio does not wait for gigabytes.
CREATE FUNCTION studio.end_export() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM jobs.schedule(NEW.tenant_id, 'exports', CASE WHEN NEW.state = 'ready' THEN NEW.expires_at ELSE clock_timestamp() END);
  RETURN NULL;
END $$;

-- x3|key|tenant|export|attempt|row|file|number|sealed, as hexadecimal|expires at|nonce|mac: keeps a part of a file, as the
-- service that makes it.
CREATE FUNCTION studio.keep_export_part(request text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'x3', 12);
BEGIN
  INSERT INTO studio.export_parts (tenant_id, id, export_id, attempt, file, n, sealed)
    VALUES (custody.expect_service(p[3]), p[6]::uuid, p[4]::uuid, p[5]::integer, p[7], p[8]::integer, decode(p[9], 'hex'));
END $$;

-- x4|key|tenant|most|expires at|nonce|mac: removes some parts that belong to no export which is made or ready. Gives how many.
CREATE FUNCTION studio.clear_export_parts(request text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'x4', 7);
  studio uuid := custody.expect_service(p[3]);
  gone integer;
BEGIN
  DELETE FROM studio.export_parts d WHERE d.tenant_id = studio AND d.id = ANY (ARRAY(
    SELECT q.id FROM studio.export_parts q JOIN studio.exports e ON e.tenant_id = q.tenant_id AND e.id = q.export_id
    WHERE q.tenant_id = studio AND NOT (e.attempt = q.attempt AND e.state IN ('running', 'ready')) LIMIT least(p[4]::integer, 1000)));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;
GRANT EXECUTE ON FUNCTION studio.keep_export_part(text), studio.clear_export_parts(text) TO {app}_app;

-- A try begins before somebody is forgotten, and is seen to run then, or after that is committed: its snapshot would have
-- them still. It does not wait, as whoever forgets may wait for its row.
CREATE FUNCTION studio.exports_key(tenant uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT hashtextextended('exports ' || tenant::text, 0) $$;
CREATE FUNCTION studio.begin_try() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF NOT pg_try_advisory_xact_lock_shared(studio.exports_key(NEW.tenant_id)) THEN
    RAISE EXCEPTION 'somebody is being forgotten' USING ERRCODE = '55P03';
  END IF;
  RETURN NEW;
END $$;

-- Somebody was forgotten who may be in one: nobody reads it any more.
CREATE FUNCTION studio.forget_exports() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(studio.exports_key(NEW.tenant_id));
  UPDATE studio.exports e SET version = e.version + 1, state = 'expired'
    WHERE e.tenant_id = NEW.tenant_id AND e.state IN ('running', 'ready');
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.begin_export(), studio.begin_try(), studio.end_export(), studio.forget_exports() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER begin_export BEFORE INSERT ON studio.exports FOR EACH ROW EXECUTE FUNCTION studio.begin_export();
ALTER TABLE studio.exports ENABLE ALWAYS TRIGGER begin_export;
CREATE TRIGGER begin_try BEFORE UPDATE ON studio.exports FOR EACH ROW WHEN (NEW.attempt <> OLD.attempt) EXECUTE FUNCTION studio.begin_try();
ALTER TABLE studio.exports ENABLE ALWAYS TRIGGER begin_try;
CREATE TRIGGER end_export AFTER UPDATE ON studio.exports FOR EACH ROW
  WHEN (NEW.attempt <> OLD.attempt OR NEW.state <> OLD.state) EXECUTE FUNCTION studio.end_export();
ALTER TABLE studio.exports ENABLE ALWAYS TRIGGER end_export;
CREATE TRIGGER forget_exports AFTER INSERT OR UPDATE ON custody.forgotten FOR EACH ROW EXECUTE FUNCTION studio.forget_exports();
ALTER TABLE custody.forgotten ENABLE ALWAYS TRIGGER forget_exports;

-- An export can be held as that it was asked for; its parts are copies, and go. They are in no archive either.
SELECT custody.keeps('studio.exports', people => '{ref}', starts => 'created_at',
    lets => '{version,updated_at,state,attempt,done,total,parts,opened,expires_at}'),
  custody.archives('studio.exports', 217, is_restored => false), custody.entrust('studio.export_parts'),
  custody.shreds(13, 'studio.export_parts', most => 100), custody.shreds(14, 'studio.exports'),
  custody.retains('exports', 16, 'studio.exports', since => 't.created_at', is_over => 't.state IN (''expired'', ''failed'')
      AND NOT EXISTS (SELECT FROM studio.export_parts p WHERE p.tenant_id = t.tenant_id AND p.export_id = t.id)',
    least_days => 30, with_rels => '{studio.export_parts}', with_columns => '{export_id}');
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
