-- Evidence of an incident: an operator asks for it, the studio's service `evidence` makes it, encrypted to the studio's
-- own recipients, and whoever gives it on says to whom. Operators see when, by whom and which digest; no row of it.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA incident TO {app}_gate;

CREATE TABLE incident.bundles (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  incident_id uuid NOT NULL,
  -- The window that it is about.
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  asked_by text NOT NULL,
  -- When it was last begun: whoever was killed leaves it, and another begins it anew.
  begun_at timestamptz,
  tries integer NOT NULL DEFAULT 0,
  -- Once it is made: its file, as it was written.
  made_at timestamptz,
  name text CHECK (length(name) BETWEEN 1 AND 200),
  bytes bigint CHECK (bytes > 0),
  sha256 text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  -- Or what was in the way the last time, and when it is tried again.
  trouble text CHECK (length(trouble) BETWEEN 1 AND 1000),
  again_at timestamptz,
  -- Or why it was not.
  failed text CHECK (length(failed) BETWEEN 1 AND 1000),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, incident_id) REFERENCES incident.incidents,
  CONSTRAINT bundles_window CHECK (ends_at > starts_at),
  CONSTRAINT bundles_made CHECK (num_nonnulls(made_at, name, bytes, sha256) IN (0, 4) AND (made_at IS NULL OR failed IS NULL))
);
-- To whom it was given, each time.
CREATE TABLE incident.hand_overs (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  bundle_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  by text NOT NULL,
  receiver text NOT NULL CHECK (length(receiver) BETWEEN 1 AND 200),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, bundle_id) REFERENCES incident.bundles
);
CREATE POLICY gate ON incident.bundles TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON incident.hand_overs TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON incident.bundles FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON incident.hand_overs FOR SELECT TO {app}_digest USING (true);
ALTER TABLE incident.bundles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE incident.hand_overs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE (begun_at, tries, made_at, name, bytes, sha256, trouble, again_at, failed) ON incident.bundles TO {app}_gate;
GRANT SELECT, INSERT ON incident.hand_overs TO {app}_gate;
GRANT SELECT ON incident.bundles, incident.hand_overs TO {app}_digest;

SET LOCAL ROLE {app}_gate;
-- What there is of an incident, with who had it.
CREATE FUNCTION incident.evidence_of(tenant uuid, which uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'from', b.starts_at, 'to', b.ends_at, 'asked_at', b.asked_at,
    'asked_by', b.asked_by, 'made_at', b.made_at, 'name', b.name, 'bytes', b.bytes, 'sha256', b.sha256, 'failed', b.failed,
    'tries', b.tries, 'trouble', b.trouble, 'again_at', b.again_at,
    'handed_over', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', h.at, 'by', h.by, 'to', h.receiver) ORDER BY h.at), '[]')
      FROM incident.hand_overs h WHERE h.tenant_id = b.tenant_id AND h.bundle_id = b.id)) ORDER BY b.asked_at, b.id), '[]')
  FROM incident.bundles b WHERE b.tenant_id = tenant AND b.incident_id = which);
END $$;

-- Asks for it, up to now where no end is said. What it is about is held from now on, unless it is already.
CREATE FUNCTION incident.ask_evidence(tenant uuid, which uuid, first timestamptz, until timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
  -- What is to come is in no window: it would be waited for.
  last timestamptz := least(until, clock_timestamp());
  made uuid := gen_random_uuid();
BEGIN
  IF it.confirmed_at IS NULL AND NOT it.is_emergency THEN PERFORM incident.refuse('incidents_unconfirmed'); END IF;
  IF (SELECT count(*) FROM incident.bundles b WHERE b.tenant_id = tenant AND b.incident_id = which) >= 20 THEN
    PERFORM incident.refuse('bundles_most');
  END IF;
  IF last <= first THEN PERFORM incident.refuse('bundles_window'); END IF;
  PERFORM custody.hold_window(tenant, first, last, 'evidence of incident ' || which);
  INSERT INTO incident.bundles (tenant_id, id, incident_id, starts_at, ends_at, asked_by) VALUES (tenant, made, which, first, last, session_user);
  PERFORM jobs.schedule(tenant, 'evidence', clock_timestamp()),
    ledger.note_because(tenant, it.reason, 'incident.evidence', 'incident', ARRAY[which, made]);
  RETURN made;
END $$;

-- Notes to whom it is given.
CREATE FUNCTION incident.hand_over(tenant uuid, which uuid, bundle uuid, receiver text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  digest text := (SELECT b.sha256 FROM incident.bundles b WHERE b.tenant_id = tenant AND b.incident_id = which AND b.id = bundle);
BEGIN
  IF digest IS NULL THEN PERFORM incident.refuse('bundles_unknown'); END IF;
  IF (SELECT count(*) FROM incident.hand_overs h WHERE h.tenant_id = tenant AND h.bundle_id = bundle) >= 100 THEN
    PERFORM incident.refuse('bundles_handed');
  END IF;
  INSERT INTO incident.hand_overs (tenant_id, id, bundle_id, by, receiver) VALUES (tenant, gen_random_uuid(), bundle, session_user, hand_over.receiver);
  PERFORM ledger.note_because(tenant, digest || ' to ' || hand_over.receiver, 'incident.hand_over', 'incident', ARRAY[which, bundle]);
  RETURN digest;
END $$;
GRANT EXECUTE ON FUNCTION incident.ask_evidence(uuid, uuid, timestamptz, timestamptz), incident.hand_over(uuid, uuid, uuid, text) TO {app}_ops;

-- Refuses whoever is not that studio's service `evidence`.
CREATE FUNCTION incident.expect_evidence(tenant text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() OR tenancy.role() IS DISTINCT FROM 'service'
     OR tenancy.actor() IS DISTINCT FROM 'evidence' THEN
    RAISE EXCEPTION 'not the service of this studio' USING ERRCODE = 'ZT018';
  END IF;
  RETURN tenant::uuid;
END $$;

-- i5|key|tenant|expires at|nonce|mac: what is asked for; begins that of it which nobody is at.
CREATE FUNCTION incident.begin_bundles(event text)
RETURNS TABLE (id uuid, incident_id uuid, starts_at timestamptz, ends_at timestamptz, is_ours boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  p text[] := tenancy.verified(event, 'i5', 6);
  studio uuid := incident.expect_evidence(p[3]);
BEGIN
  UPDATE incident.bundles b SET failed = 'it was begun five times, and never came to its end'
    WHERE b.tenant_id = studio AND b.made_at IS NULL AND b.failed IS NULL AND b.tries >= 5 AND b.begun_at < clock_timestamp() - interval '15 minutes';
  RETURN QUERY WITH begun AS (
    UPDATE incident.bundles b SET begun_at = clock_timestamp(), tries = b.tries + 1
      WHERE b.tenant_id = studio AND b.made_at IS NULL AND b.failed IS NULL
        AND (b.begun_at IS NULL OR b.begun_at < clock_timestamp() - interval '15 minutes') AND coalesce(b.again_at <= clock_timestamp(), true)
        -- An answer that waits for its entry is under way in its process, and is to be in the bundle. Of a process that
        -- is gone nothing comes any more.
        AND NOT EXISTS (SELECT FROM tenancy.isolations i WHERE i.tenant_id = studio AND i.ended_at IS NULL
          AND i.begun_at > clock_timestamp() - interval '30 seconds' AND EXISTS (SELECT FROM tenancy.unconfirmed(studio, i.id)))
      RETURNING b.id
  ) SELECT b.id, b.incident_id, b.starts_at, b.ends_at, n.id IS NOT NULL FROM incident.bundles b LEFT JOIN begun n ON n.id = b.id
    -- What is tried again later comes by itself.
    WHERE b.tenant_id = studio AND b.made_at IS NULL AND b.failed IS NULL AND (n.id IS NOT NULL OR coalesce(b.again_at <= clock_timestamp(), true));
END $$;

-- i6|key|tenant|bundle|name|bytes|SHA-256|why not, in hexadecimal|again or nothing|expires at|nonce|mac: it is made, or was not;
-- what may pass is begun anew after five seconds, and each time after four times as long, five times in all. Says whether nobody was first.
CREATE FUNCTION incident.end_bundle(event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i6', 12);
  studio uuid := incident.expect_evidence(p[3]);
  why text := left(nullif(convert_from(decode(p[8], 'hex'), 'UTF8'), ''), 1000);
  again timestamptz;
BEGIN
  UPDATE incident.bundles b SET made_at = CASE p[5] WHEN '' THEN NULL ELSE clock_timestamp() END, name = nullif(p[5], ''),
      bytes = nullif(p[6], '')::bigint, sha256 = nullif(p[7], ''), begun_at = CASE p[9] WHEN 'again' THEN NULL ELSE b.begun_at END,
      trouble = why, again_at = CASE WHEN p[9] = 'again' AND b.tries < 5 THEN clock_timestamp() + interval '5 seconds' * 4 ^ (b.tries - 1) END,
      failed = CASE WHEN p[9] <> 'again' OR b.tries >= 5 THEN why END
    WHERE b.tenant_id = studio AND b.id = p[4]::uuid AND b.made_at IS NULL AND b.failed IS NULL RETURNING b.again_at INTO again;
  IF NOT FOUND THEN RETURN false; END IF;
  IF again IS NOT NULL THEN PERFORM jobs.schedule(studio, 'evidence', again); END IF;
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION incident.begin_bundles(text), incident.end_bundle(text) TO {app}_app;

-- What stands in a bundle beside the log: the incident, and how the database keeps studios apart. For the service alone.
CREATE FUNCTION incident.facts(which uuid) RETURNS TABLE (tenant_id uuid, part text, line jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  studio uuid := incident.expect_evidence(tenancy.tenant_id()::text);
BEGIN
  RETURN QUERY SELECT studio, 'incident', v FROM jsonb_array_elements(incident.describe(studio, which)) v;
  RETURN QUERY SELECT studio, 'versions', jsonb_build_object('postgresql', current_setting('server_version'));
  RETURN QUERY SELECT studio, 'roles', to_jsonb(v) FROM (
    SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
      ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1) AS member_of
    FROM pg_roles r WHERE starts_with(r.rolname, '{app}_') ORDER BY r.rolname COLLATE "C") v;
  RETURN QUERY SELECT studio, 'tables', to_jsonb(v) FROM (
    SELECT n.nspname || '.' || c.relname AS "table", c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) AS owner, c.relacl::text[] AS grants
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname !~ '^(pg_|information_schema)' ORDER BY 1) v;
  RETURN QUERY SELECT studio, 'policies', to_jsonb(v) FROM (
    SELECT p.schemaname, p.tablename, p.policyname, p.permissive, p.roles::text[], p.cmd, p.qual, p.with_check
    FROM pg_policies p ORDER BY 1, 2, 3) v;
END $$;
GRANT EXECUTE ON FUNCTION incident.facts(uuid) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA incident FROM {app}_gate;
-- As the incident that it is about.
SELECT custody.entrust(rel), custody.shreds(step, rel) FROM (VALUES (88, 'incident.hand_overs'::regclass), (89, 'incident.bundles')) v (step, rel);
