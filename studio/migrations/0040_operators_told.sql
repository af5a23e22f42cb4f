-- Operators are told that something was noticed: of the platform and, as a bare fact, of a studio. What is written here is
-- all that leaves: a kind, how bad it is, a time and a studio's id. No subject: it may be an address or a person.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA watch TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Owned by the gate and granted to nobody; behind row security all the same.
CREATE TABLE watch.tellings (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  way text NOT NULL CHECK (way IN ('webhook', 'mail')),
  kind text NOT NULL CHECK (kind ~ '^[a-z-]{1,40}$'),
  severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
  -- Null: it is of no studio.
  studio uuid,
  noticed_at timestamptz NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  -- When the next attempt is due. It is moved on before each is made: who dies in between has made it.
  next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- What the last attempt was answered; null: nothing.
  status integer,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The same of the same is told once an hour at most: whoever comes from thousands of networks writes no thousands of mails.
  hour timestamptz NOT NULL GENERATED ALWAYS AS (date_bin('1 hour', noticed_at, timestamptz '2000-01-01 00:00:00+00')) STORED,
  CONSTRAINT tellings_once UNIQUE NULLS NOT DISTINCT (way, kind, severity, studio, hour)
);
CREATE INDEX tellings_due ON watch.tellings (next_at) WHERE state = 'pending';
CREATE INDEX tellings_by_time ON watch.tellings (created_at);
ALTER TABLE watch.tellings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON watch.tellings TO {app}_gate USING (true) WITH CHECK (true);

-- Called by the gate's own triggers alone. What goes on is told again: it may have got worse, or be another thing of the same name.
CREATE FUNCTION watch.tell_operators() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  of_studio uuid := (to_jsonb(NEW) ->> 'tenant_id')::uuid;
  noticed timestamptz := CASE TG_OP WHEN 'INSERT' THEN NEW.opened_at ELSE NEW.last_seen_at END;
  pause interval := CASE WHEN NEW.severity IN ('high', 'critical') THEN '1 hour' ELSE '1 day' END;
BEGIN
  IF TG_OP = 'UPDATE' AND EXISTS (SELECT FROM watch.tellings t WHERE t.kind = NEW.kind AND t.severity = NEW.severity
      AND t.studio IS NOT DISTINCT FROM of_studio AND t.noticed_at > noticed - pause) THEN
    RETURN NULL;
  END IF;
  INSERT INTO watch.tellings (way, kind, severity, studio, noticed_at)
    SELECT w.way, NEW.kind, NEW.severity, of_studio, noticed FROM unnest('{webhook,mail}'::text[]) w (way)
    ON CONFLICT ON CONSTRAINT tellings_once DO NOTHING;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION watch.tell_operators() TO {app}_owner;
CREATE TRIGGER tell_operators AFTER INSERT OR UPDATE OF last_seen_at ON watch.alerts FOR EACH ROW EXECUTE FUNCTION watch.tell_operators();
ALTER TABLE watch.alerts ENABLE ALWAYS TRIGGER tell_operators;

-- y7|key|ways, by commas|expires at|nonce|mac. Takes what is due in hand: counts the attempt and moves the next one on. What is of a
-- way that nobody named, or was tried to the end, is dead; what is older than ninety days goes.
CREATE FUNCTION watch.take_tellings(question text)
RETURNS TABLE (id uuid, way text, kind text, severity text, studio uuid, noticed_at timestamptz, attempts integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'y7', 6);
  pauses_s integer[] := '{5,60,300,1800,7200,28800,86400,86400}';
BEGIN
  DELETE FROM watch.tellings t WHERE t.created_at < clock_timestamp() - interval '90 days';
  UPDATE watch.tellings t SET state = 'dead' WHERE t.state = 'pending'
    AND (t.way <> ALL (string_to_array(p[3], ',')) OR t.attempts >= cardinality(pauses_s) AND t.next_at <= clock_timestamp());
  RETURN QUERY UPDATE watch.tellings t
    SET attempts = t.attempts + 1, next_at = clock_timestamp() + pauses_s[t.attempts + 1] * interval '1 second'
    WHERE t.id IN (SELECT d.id FROM watch.tellings d WHERE d.state = 'pending' AND d.next_at <= clock_timestamp()
      ORDER BY d.next_at LIMIT 20 FOR UPDATE SKIP LOCKED)
    RETURNING t.id, t.way, t.kind, t.severity, t.studio, t.noticed_at, t.attempts;
END $$;

-- y8|key|telling|state|status or nothing|attempts|expires at|nonce|mac. What another attempt has taken in hand meanwhile is that one's,
-- unless it has arrived.
CREATE FUNCTION watch.settle_telling(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'y8', 9);
BEGIN
  UPDATE watch.tellings t SET state = p[4], status = nullif(p[5], '')::integer
    WHERE t.id = p[3]::uuid AND t.state = 'pending' AND (t.attempts = p[6]::integer OR p[4] = 'delivered');
END $$;
GRANT EXECUTE ON FUNCTION watch.take_tellings(text), watch.settle_telling(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA watch FROM {app}_gate;
CREATE TRIGGER tell_operators AFTER INSERT ON studio.alerts FOR EACH ROW EXECUTE FUNCTION watch.tell_operators();
ALTER TABLE studio.alerts ENABLE ALWAYS TRIGGER tell_operators;
