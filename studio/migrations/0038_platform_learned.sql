-- What processes of the server have learned of the platform, so that a restart forgets nothing: networks, times and counts, of no studio
-- but how long its requests took, and of none that is closed.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA watch TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Owned by the gate and granted to nobody; behind row security all the same.
CREATE TABLE watch.learned (
  -- A name that a process has after a restart too, in base64.
  process text PRIMARY KEY CHECK (length(process) BETWEEN 1 AND 400),
  -- As the server writes it, as JSON.
  learned text NOT NULL CHECK (length(learned) <= 12000000),
  kept_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE watch.learned ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON watch.learned TO {app}_gate USING (true) WITH CHECK (true);

-- y3|key|process|learned, in base64|expires at|nonce|mac. What was not kept for a month is of no process any more.
CREATE FUNCTION watch.keep(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'y3', 7);
BEGIN
  DELETE FROM watch.learned l WHERE l.kept_at < clock_timestamp() - interval '30 days';
  INSERT INTO watch.learned (process, learned) VALUES (p[3], convert_from(decode(p[4], 'base64'), 'UTF8'))
    ON CONFLICT (process) DO UPDATE SET learned = EXCLUDED.learned, kept_at = clock_timestamp();
END $$;

-- y4|key|process|expires at|nonce|mac
CREATE FUNCTION watch.kept(question text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'y4', 6);
BEGIN
  RETURN (SELECT l.learned FROM watch.learned l WHERE l.process = p[3]);
END $$;

-- y5|key|studios, with commas|expires at|nonce|mac: those of them that are closed. A process forgets them.
CREATE FUNCTION watch.gone(question text) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'y5', 6);
BEGIN
  RETURN QUERY SELECT s.tenant_id FROM tenancy.studios s WHERE s.tenant_id = ANY (string_to_array(p[3], ',')::uuid[]) AND s.status = 'closed';
END $$;
GRANT EXECUTE ON FUNCTION watch.keep(text), watch.kept(text), watch.gone(text) TO {app}_app;

-- What has a closed studio in it goes at once. A process that is at work keeps its own anew within a minute, without it; one that is not
-- learns anew.
CREATE FUNCTION watch.forget_closed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  DELETE FROM watch.learned l WHERE strpos(l.learned, NEW.tenant_id::text) > 0;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION watch.forget_closed() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA watch FROM {app}_gate;
CREATE TRIGGER forget_closed AFTER UPDATE OF status ON tenancy.studios FOR EACH ROW
  WHEN (OLD.status <> 'closed' AND NEW.status = 'closed') EXECUTE FUNCTION watch.forget_closed();
ALTER TABLE tenancy.studios ENABLE ALWAYS TRIGGER forget_closed;
