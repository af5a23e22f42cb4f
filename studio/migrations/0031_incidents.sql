-- Incidents: what operators do when something went wrong in a studio, step by step, without reading a row of it. One
-- opens, another confirms. A freeze that one alone ordered is at once, and over after a day unless another
-- confirmed it.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA incident;
GRANT USAGE ON SCHEMA incident TO {app}_app, {app}_gate, {app}_digest, {app}_ops;
GRANT CREATE ON SCHEMA incident TO {app}_gate;

CREATE TABLE incident.incidents (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind ~ '^[a-z0-9-]{1,40}$'),
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
  is_emergency boolean NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Logins of operators, or `member:ID` of an owner. The database says who, not the statement.
  opened_by text NOT NULL,
  confirmed_at timestamptz,
  confirmed_by text CHECK (confirmed_by <> opened_by),
  closed_at timestamptz,
  closed_by text,
  -- Why it was closed although not all was mended.
  override text CHECK (length(override) BETWEEN 1 AND 1000),
  PRIMARY KEY (tenant_id, id)
);
-- What was done, by whom and when; each is done once.
CREATE TABLE incident.steps (
  tenant_id uuid NOT NULL,
  incident_id uuid NOT NULL,
  name text NOT NULL CHECK (name IN ('assess', 'notify', 'keys', 'sessions', 'role', 'policy', 'check', 'replay')),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  by text NOT NULL,
  note text NOT NULL CHECK (length(note) BETWEEN 1 AND 1000),
  PRIMARY KEY (tenant_id, incident_id, name),
  FOREIGN KEY (tenant_id, incident_id) REFERENCES incident.incidents
);
CREATE POLICY gate ON incident.incidents TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON incident.steps TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON incident.incidents FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON incident.steps FOR SELECT TO {app}_digest USING (true);
ALTER TABLE incident.incidents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE incident.steps ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE (confirmed_at, confirmed_by, closed_at, closed_by, override) ON incident.incidents TO {app}_gate;
GRANT SELECT, INSERT ON incident.steps TO {app}_gate;
GRANT SELECT ON incident.incidents, incident.steps TO {app}_digest;

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION incident.refuse(why text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'not in this incident' USING ERRCODE = 'ZT060', CONSTRAINT = why;
END $$;

-- The steps that mend.
CREATE FUNCTION incident.mending() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '{keys,sessions,role,policy,check,replay}'::text[] $$;

-- An open incident, locked until the transaction ends.
CREATE FUNCTION incident.take(tenant uuid, which uuid) RETURNS incident.incidents
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  it incident.incidents;
BEGIN
  SELECT * INTO it FROM incident.incidents i WHERE i.tenant_id = tenant AND i.id = which FOR UPDATE;
  IF NOT FOUND THEN PERFORM incident.refuse('incidents_unknown'); END IF;
  IF it.closed_at IS NOT NULL THEN PERFORM incident.refuse('incidents_closed'); END IF;
  RETURN it;
END $$;

-- Opens one. In an emergency its opener may freeze at once, for a day.
CREATE FUNCTION incident.report(tenant uuid, kind text, reason text, is_emergency boolean) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  made uuid := gen_random_uuid();
BEGIN
  INSERT INTO incident.incidents (tenant_id, id, kind, reason, is_emergency, opened_by)
    VALUES (tenant, made, report.kind, report.reason, report.is_emergency, session_user);
  IF report.is_emergency THEN PERFORM jobs.schedule(tenant, 'incident', clock_timestamp() + interval '1 day'); END IF;
  PERFORM ledger.note_because(tenant, report.reason, 'incident.open', 'incident', ARRAY[made]);
  RETURN made;
END $$;

-- The other operator's word.
CREATE FUNCTION incident.confirm(tenant uuid, which uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
BEGIN
  IF it.opened_by = session_user THEN PERFORM incident.refuse('incidents_opener'); END IF;
  UPDATE incident.incidents i SET confirmed_at = coalesce(i.confirmed_at, clock_timestamp()), confirmed_by = coalesce(i.confirmed_by, session_user)
    WHERE i.tenant_id = tenant AND i.id = which;
  PERFORM ledger.note_because(tenant, it.reason, 'incident.confirm', 'incident', ARRAY[which]);
END $$;

-- Isolates a member, a session or an address, or all of the studio where none is named: first of two calls, as
-- `tenancy.begin_isolation` says. The brake does not wait for the ledger: of a studio the second call notes what the mark could not, and
-- of a part both note it.
CREATE FUNCTION incident.isolate(tenant uuid, which uuid, member uuid, of_session text, of_address text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
  waits text := current_setting('lock_timeout');
  made uuid;
BEGIN
  IF it.confirmed_at IS NULL AND (NOT it.is_emergency OR it.opened_at < clock_timestamp() - interval '1 day') THEN
    PERFORM incident.refuse('incidents_unconfirmed');
  END IF;
  -- One emergency after the other would be a freeze without end by one alone.
  IF it.confirmed_at IS NULL AND EXISTS (SELECT FROM incident.incidents i WHERE i.tenant_id = tenant AND i.id <> which
      AND i.is_emergency AND i.confirmed_at IS NULL AND i.opened_at > clock_timestamp() - interval '7 days') THEN
    PERFORM incident.refuse('incidents_again');
  END IF;
  made := tenancy.begin_isolation(tenant, which, member, of_session, of_address);
  IF num_nonnulls(member, of_session, of_address) > 0 THEN
    BEGIN
      PERFORM set_config('lock_timeout', '200', true);
      PERFORM ledger.note_because(tenant, it.reason, 'incident.isolate', 'incident', ARRAY[which]);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'the ledger cannot note the isolation: %', SQLERRM;
    END;
    PERFORM set_config('lock_timeout', waits, true);
  END IF;
  RETURN made;
END $$;

CREATE FUNCTION incident.drain(tenant uuid, isolation uuid, patience interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  ended integer := tenancy.drain_isolation(tenant, isolation, patience);
BEGIN
  PERFORM ledger.note_because(tenant, i.reason, CASE WHEN num_nonnulls(v.member_id, v.session, v.address) = 0 THEN 'incident.isolate' ELSE 'incident.drain' END,
      'incident', ARRAY[i.id])
    FROM incident.incidents i JOIN tenancy.isolations v ON v.tenant_id = i.tenant_id AND v.cause = i.id
    WHERE v.tenant_id = drain.tenant AND v.id = isolation;
  RETURN ended;
END $$;

-- The processes of the server that have not confirmed it yet.
CREATE FUNCTION incident.unconfirmed(tenant uuid, isolation uuid) RETURNS TABLE (process uuid, seen_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT u.process, u.seen_at FROM tenancy.unconfirmed(tenant, isolation) u;
END $$;

-- Notes that a step was done.
CREATE FUNCTION incident.note_step(tenant uuid, which uuid, name text, note text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM incident.take(tenant, which);
  INSERT INTO incident.steps (tenant_id, incident_id, name, by, note) VALUES (tenant, which, note_step.name, session_user, note_step.note);
  PERFORM ledger.note_because(tenant, note_step.note, 'incident.' || note_step.name, 'incident', ARRAY[which]);
END $$;

-- Lifts what it isolated, and closes it. It must be confirmed, and all be mended, or it is said why not.
CREATE FUNCTION incident.thaw(tenant uuid, which uuid, because text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
  is_mended boolean := it.confirmed_at IS NOT NULL AND incident.mending() <@ ARRAY(SELECT s.name FROM incident.steps s WHERE s.tenant_id = tenant AND s.incident_id = which);
BEGIN
  IF NOT is_mended AND because IS NULL THEN
    PERFORM incident.refuse(CASE WHEN it.confirmed_at IS NULL THEN 'incidents_unconfirmed' ELSE 'incidents_unmended' END);
  END IF;
  PERFORM tenancy.lift_isolations(tenant, which);
  UPDATE incident.incidents i SET closed_at = clock_timestamp(), closed_by = session_user, override = CASE WHEN NOT is_mended THEN because END
    WHERE i.tenant_id = tenant AND i.id = which;
  PERFORM ledger.note_because(tenant, coalesce(because, it.reason), 'incident.thaw', 'incident', ARRAY[which]);
END $$;

-- i4|key|tenant|expires at|nonce|mac: lifts what one operator alone isolated a day ago.
CREATE FUNCTION incident.lift_unconfirmed(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i4', 6);
  it incident.incidents;
BEGIN
  FOR it IN SELECT * FROM incident.incidents i WHERE i.tenant_id = p[3]::uuid AND i.closed_at IS NULL AND i.is_emergency
      AND i.confirmed_at IS NULL AND i.opened_at < clock_timestamp() - interval '1 day' FOR UPDATE LOOP
    PERFORM tenancy.lift_isolations(it.tenant_id, it.id);
    UPDATE incident.incidents i SET closed_at = clock_timestamp(), override = 'nobody confirmed it within a day'
      WHERE i.tenant_id = it.tenant_id AND i.id = it.id;
    PERFORM ledger.note_service(it.tenant_id, 'incident', 'nobody confirmed it within a day', 'incident.thaw', 'incident', ARRAY[it.id]);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION incident.lift_unconfirmed(text) TO {app}_app;

-- How far it has come: each state is reached with all before it or without.
CREATE FUNCTION incident.state_of(it incident.incidents) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done text[] := ARRAY(SELECT s.name FROM incident.steps s WHERE s.tenant_id = it.tenant_id AND s.incident_id = it.id);
BEGIN
  RETURN CASE
    WHEN it.closed_at IS NOT NULL THEN 'closed'
    WHEN done @> incident.mending() THEN 'remediated'
    WHEN 'notify' = ANY (done) THEN 'notified'
    WHEN 'assess' = ANY (done) THEN 'assessed'
    WHEN EXISTS (SELECT FROM tenancy.isolations v WHERE v.tenant_id = it.tenant_id AND v.cause = it.id AND v.ended_at IS NULL) THEN 'contained'
    ELSE 'open' END;
END $$;

-- An incident with all that was done in it, by whom and when; of a studio all, where none is named.
CREATE FUNCTION incident.describe(tenant uuid, which uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'kind', i.kind, 'reason', i.reason, 'state', incident.state_of(i),
    'is_emergency', i.is_emergency, 'opened_at', i.opened_at, 'opened_by', i.opened_by, 'confirmed_at', i.confirmed_at,
    'confirmed_by', i.confirmed_by, 'closed_at', i.closed_at, 'closed_by', i.closed_by, 'override', i.override,
    'frozen', (SELECT jsonb_build_object('studio', coalesce(bool_or(num_nonnulls(v.member_id, v.session, v.address) = 0), false),
        'members', coalesce(jsonb_agg(v.member_id) FILTER (WHERE v.member_id IS NOT NULL), '[]'),
        'sessions', coalesce(jsonb_agg(v.session) FILTER (WHERE v.session IS NOT NULL), '[]'),
        'addresses', coalesce(jsonb_agg(v.address) FILTER (WHERE v.address IS NOT NULL), '[]'))
      FROM tenancy.isolations v WHERE v.tenant_id = i.tenant_id AND v.cause = i.id AND v.ended_at IS NULL),
    'isolations', (SELECT coalesce(jsonb_agg(jsonb_build_object('member', v.member_id, 'session', v.session, 'address', v.address,
        'begun_at', v.begun_at, 'ended_at', v.ended_at) ORDER BY v.begun_at), '[]')
      FROM tenancy.isolations v WHERE v.tenant_id = i.tenant_id AND v.cause = i.id),
    'evidence', incident.evidence_of(i.tenant_id, i.id),
    'notices', incident.notices_of(i.tenant_id, i.id),
    'steps', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', n, 'state', CASE WHEN s.name IS NULL THEN 'open' ELSE 'done' END,
        'by', s.by, 'at', s.at, 'note', s.note) ORDER BY o), '[]')
      FROM unnest('{assess,notify}' || incident.mending()) WITH ORDINALITY t (n, o)
      LEFT JOIN incident.steps s ON s.tenant_id = i.tenant_id AND s.incident_id = i.id AND s.name = n)) ORDER BY i.opened_at, i.id), '[]')
  FROM incident.incidents i WHERE i.tenant_id = tenant AND (which IS NULL OR i.id = which));
END $$;

-- The same for operators.
CREATE FUNCTION incident.status(tenant uuid, which uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN incident.describe(tenant, which);
END $$;
GRANT EXECUTE ON FUNCTION incident.report(uuid, text, text, boolean), incident.confirm(uuid, uuid), incident.isolate(uuid, uuid, uuid, text, text),
  incident.drain(uuid, uuid, interval), incident.unconfirmed(uuid, uuid), incident.note_step(uuid, uuid, text, text),
  incident.thaw(uuid, uuid, text), incident.status(uuid, uuid) TO {app}_ops;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA incident FROM {app}_gate;
-- What was done to a studio goes with it, and is no part of what a restore brings back.
SELECT custody.entrust(rel), custody.shreds(step, rel) FROM (VALUES (92, 'tenancy.confirmations'::regclass), (93, 'tenancy.isolations'),
  (94, 'incident.steps'), (95, 'incident.incidents')) v (step, rel);
