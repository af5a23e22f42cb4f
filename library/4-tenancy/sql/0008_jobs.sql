-- Work that is due: in which studio, of what kind, since when; nothing of what it is about. A worker
-- claims it before any studio is known, then acts in each as that studio's service.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA jobs;
GRANT USAGE ON SCHEMA jobs TO {app}_app, {app}_gate;
GRANT CREATE ON SCHEMA jobs TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Owned by the gate and granted to nobody; behind row security all the same.
CREATE TABLE jobs.due (
  tenant_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind ~ '^[a-z-]{1,32}$'),
  due_at timestamptz NOT NULL,
  -- A worker that died gives it back by the passing of time.
  claimed_until timestamptz,
  PRIMARY KEY (tenant_id, kind, due_at)
);
CREATE INDEX due_by_time ON jobs.due (due_at);
ALTER TABLE jobs.due ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON jobs.due TO {app}_gate USING (true) WITH CHECK (true);

-- Notes that a studio has work of a kind at a time. Called by the triggers of the product's tables.
CREATE FUNCTION jobs.schedule(tenant uuid, kind text, due_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO jobs.due (tenant_id, kind, due_at) VALUES (tenant, schedule.kind, schedule.due_at)
    ON CONFLICT DO NOTHING;
END $$;

-- Claims what is due in studios that are active, and of any its closing, its incidents and their evidence: j1|key|most|lease in seconds|expires at|nonce|mac.
-- Signed, because whoever may call it learns which studios have work, and can hold it up.
CREATE FUNCTION jobs.claim(event text) RETURNS TABLE (tenant uuid, kind text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  p text[] := tenancy.verified(event, 'j1', 7);
BEGIN
  RETURN QUERY WITH open AS (
    SELECT d.tenant_id, d.kind, d.due_at FROM jobs.due d
      WHERE d.due_at <= clock_timestamp() AND coalesce(d.claimed_until < clock_timestamp(), true)
        AND EXISTS (SELECT FROM tenancy.studios s WHERE s.tenant_id = d.tenant_id AND (s.status = 'active' OR d.kind IN ('closing', 'incident', 'evidence')))
      ORDER BY d.due_at LIMIT p[3]::integer FOR UPDATE OF d SKIP LOCKED
  ), claimed AS (
    UPDATE jobs.due d SET claimed_until = clock_timestamp() + make_interval(secs => p[4]::integer)
      FROM open o WHERE d.tenant_id = o.tenant_id AND d.kind = o.kind AND d.due_at = o.due_at
      RETURNING d.tenant_id, d.kind
  ) SELECT DISTINCT c.tenant_id, c.kind FROM claimed c;
END $$;

-- Forgets work that was done up to a time, in microseconds: j2|key|tenant|kind|time|expires at|nonce|mac.
-- What nobody claimed is kept, however early it is due: its transaction may have ended after the work
-- was looked for.
CREATE FUNCTION jobs.done(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'j2', 8);
BEGIN
  DELETE FROM jobs.due d WHERE d.tenant_id = p[3]::uuid AND d.kind = p[4]
    AND d.claimed_until IS NOT NULL AND d.due_at <= timestamptz 'epoch' + p[5]::bigint * interval '1 microsecond';
END $$;
GRANT EXECUTE ON FUNCTION jobs.claim(text), jobs.done(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA jobs FROM {app}_gate;
