-- Isolation: a studio, one of its members, a session or an address is let in no more, until that is lifted. It
-- returns when nothing of it is under way: the database ends what will not end, and each process of the server
-- confirms that the last of its answers has left. Who may ask for it is another room's to say.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

CREATE TABLE tenancy.isolations (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  -- What it is for: an incident.
  cause uuid NOT NULL,
  -- None of the three: all of the studio.
  member_id uuid,
  session text CHECK (session ~ '^[A-Za-z0-9_-]{1,64}$'),
  address text CHECK (length(address) BETWEEN 1 AND 64),
  -- Whose requests they are, as the servers know them.
  subject text,
  -- Once nothing else has that name any more: its SHA-256, by which their entries are found.
  subject_digest text CHECK (subject_digest ~ '^[0-9a-f]{64}$'),
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CHECK (num_nonnulls(member_id, session, address) <= 1)
);
CREATE INDEX isolations_open ON tenancy.isolations (tenant_id) WHERE ended_at IS NULL;
CREATE TABLE tenancy.confirmations (
  tenant_id uuid NOT NULL,
  isolation uuid NOT NULL,
  -- A process of the server, by an id that it drew when it began.
  process uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, isolation, process),
  FOREIGN KEY (tenant_id, isolation) REFERENCES tenancy.isolations
);
ALTER TABLE tenancy.isolations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.confirmations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON tenancy.isolations TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON tenancy.confirmations TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON tenancy.isolations FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON tenancy.confirmations FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT, UPDATE (ended_at) ON tenancy.isolations TO {app}_gate;
GRANT SELECT, INSERT ON tenancy.confirmations TO {app}_gate;
GRANT SELECT ON tenancy.isolations, tenancy.confirmations TO {app}_digest;

SET LOCAL ROLE {app}_gate;
-- The processes of the server that answer or work. Owned by the gate and granted to nobody.
CREATE TABLE tenancy.processes (
  id uuid PRIMARY KEY,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- A digest of what one process at a time can have, and none that was stopped gives back: who had it before has ended.
  name text CHECK (name ~ '^[0-9a-f]{64}$')
);

-- i1|key|process|name or nothing|expires at|nonce|mac: a process says that it is there, and is told what it has not confirmed.
CREATE FUNCTION tenancy.heed(event text) RETURNS TABLE (tenant uuid, isolation uuid, subject text, address text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i1', 7);
BEGIN
  DELETE FROM tenancy.processes t WHERE t.name = p[4] AND t.id <> p[3]::uuid;
  INSERT INTO tenancy.processes AS t (id, name) VALUES (p[3]::uuid, nullif(p[4], ''))
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp() WHERE t.seen_at < clock_timestamp() - interval '1 second';
  RETURN QUERY SELECT i.tenant_id, i.id, i.subject, i.address FROM tenancy.isolations i
    WHERE i.ended_at IS NULL AND NOT EXISTS (SELECT FROM tenancy.confirmations c
      WHERE c.tenant_id = i.tenant_id AND c.isolation = i.id AND c.process = p[3]::uuid);
END $$;

-- i2|key|process|tenant|isolation|expires at|nonce|mac: nothing of it is under way in that process.
CREATE FUNCTION tenancy.confirm_isolation(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i2', 8);
BEGIN
  INSERT INTO tenancy.confirmations (tenant_id, isolation, process) VALUES (p[4]::uuid, p[5]::uuid, p[3]::uuid) ON CONFLICT DO NOTHING;
END $$;

-- i3|key|process|expires at|nonce|mac: a process ends, and answers nobody any more.
CREATE FUNCTION tenancy.leave(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i3', 6);
BEGIN
  DELETE FROM tenancy.processes t WHERE t.id = p[3]::uuid OR t.seen_at < clock_timestamp() - interval '1 day';
END $$;
GRANT EXECUTE ON FUNCTION tenancy.heed(text), tenancy.confirm_isolation(text), tenancy.leave(text) TO {app}_app;

-- Begins one, first of two calls in two transactions: nobody enters any more once this is committed. The cookies of
-- sessions are ended by the second, which has locked out whoever might hold one.
CREATE FUNCTION tenancy.begin_isolation(tenant uuid, for_cause uuid, member uuid, of_session text, of_address text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  made uuid := gen_random_uuid();
  whose text;
BEGIN
  IF num_nonnulls(member, of_session, of_address) = 0 THEN
    PERFORM tenancy.freeze_mark(tenant);
  ELSIF of_address IS NULL THEN
    SELECT m.subject INTO whose FROM tenancy.members m LEFT JOIN tenancy.sessions v ON v.subject = m.subject AND v.session = of_session
      WHERE m.tenant_id = tenant AND (m.id = member OR v.session IS NOT NULL);
    -- Somebody who is only invited has no requests.
    IF whose IS NULL THEN RAISE EXCEPTION 'nobody of that id' USING ERRCODE = '23503', CONSTRAINT = 'isolations_whose'; END IF;
    -- An ended session is nobody's again, whatever the identity provider says of it later.
    UPDATE tenancy.sessions v SET ended_at = coalesce(v.ended_at, clock_timestamp()), provider_at_ms = 9223372036854775807
      WHERE v.session = of_session;
  END IF;
  INSERT INTO tenancy.isolations (tenant_id, id, cause, member_id, session, address, subject)
    VALUES (tenant, made, for_cause, member, of_session, of_address, whose);
  RETURN made;
END $$;

-- The second: waits `patience` for transactions that are under way, ends those that are not over then, and ends the
-- sessions. Gives how many were ended. Of an address the processes know what is under way, and nobody else.
CREATE FUNCTION tenancy.drain_isolation(tenant uuid, which uuid, patience interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  it tenancy.isolations;
  ended integer := 0;
BEGIN
  SELECT * INTO it FROM tenancy.isolations i WHERE i.tenant_id = tenant AND i.id = which AND i.ended_at IS NULL;
  IF NOT FOUND THEN RAISE EXCEPTION 'no such isolation' USING ERRCODE = 'ZT014'; END IF;
  IF it.address IS NOT NULL THEN RETURN 0; END IF;
  IF num_nonnulls(it.member_id, it.session) = 0 THEN
    ended := tenancy.freeze_drain(tenant, patience);
  ELSE
    ended := (SELECT tenancy.take_lock(m.lock_key, patience) FROM tenancy.members m WHERE m.tenant_id = tenant AND m.subject = it.subject);
  END IF;
  PERFORM set_config('lock_timeout', '2s', true);
  UPDATE tenancy.page_sessions v SET ended_at = clock_timestamp()
    WHERE v.tenant_id = tenant AND v.ended_at IS NULL AND (it.session IS NULL OR v.session = it.session)
      AND (it.subject IS NULL OR v.member_id = (SELECT m.id FROM tenancy.members m WHERE m.tenant_id = tenant AND m.subject = it.subject));
  RETURN ended;
END $$;

-- The processes that have not confirmed it; one that was not heard of for a day is no more.
CREATE FUNCTION tenancy.unconfirmed(tenant uuid, which uuid) RETURNS TABLE (process uuid, seen_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT t.id, t.seen_at FROM tenancy.processes t
    WHERE t.seen_at > clock_timestamp() - interval '1 day' AND NOT EXISTS (SELECT FROM tenancy.confirmations c
      WHERE c.tenant_id = tenant AND c.isolation = which AND c.process = t.id);
END $$;

-- Lifts all of a cause's. The studio is thawed when nothing else keeps it frozen.
CREATE FUNCTION tenancy.lift_isolations(tenant uuid, of_cause uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- One that another incident begins meanwhile is seen, or waits.
  PERFORM FROM tenancy.studios s WHERE s.tenant_id = tenant FOR NO KEY UPDATE;
  UPDATE tenancy.isolations i SET ended_at = clock_timestamp()
    WHERE i.tenant_id = tenant AND i.cause = of_cause AND i.ended_at IS NULL;
  IF NOT EXISTS (SELECT FROM tenancy.isolations i WHERE i.tenant_id = tenant AND i.ended_at IS NULL
      AND num_nonnulls(i.member_id, i.session, i.address) = 0) THEN
    PERFORM tenancy.thaw(tenant);
  END IF;
END $$;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
