-- What the identity provider tells by webhook. Each event is signed by the server, which checked the
-- provider's signature, with the key ring `context`; its prefix keeps it from ever being a context.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Deliveries that had their effect, so that one that comes again has none. Of every studio and of
-- none: owned by the gate and granted to nobody.
CREATE TABLE tenancy.deliveries (
  id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deliveries_by_time ON tenancy.deliveries (at);

-- Ends a session of the provider: e1|key|delivery|session|subject|expires at|nonce|mac. Gives whether
-- this delivery is new. It can only lower: a session that ended does not come back.
CREATE FUNCTION tenancy.end_session(event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := string_to_array(event, '|');
BEGIN
  IF p[1] IS DISTINCT FROM 'e1' OR cardinality(p) IS DISTINCT FROM 8 THEN
    RAISE EXCEPTION 'event malformed' USING ERRCODE = 'ZT001';
  END IF;
  IF sha256(tenancy.hmac('context', p[2]::smallint, array_to_string(p[1:7], '|')))
     IS DISTINCT FROM sha256(decode(p[8], 'hex')) THEN
    RAISE EXCEPTION 'event forged' USING ERRCODE = 'ZT002';
  END IF;
  IF to_timestamp(p[6]::double precision) NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute' THEN
    RAISE EXCEPTION 'event expired' USING ERRCODE = 'ZT003';
  END IF;
  -- The provider tries for a day and a half; what is a week old is not tried again.
  DELETE FROM tenancy.deliveries d WHERE d.at < clock_timestamp() - interval '7 days';
  INSERT INTO tenancy.deliveries (id) VALUES (p[3]) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO tenancy.sessions AS s (session, subject, ended_at) VALUES (p[4], p[5], clock_timestamp())
    ON CONFLICT (session) DO UPDATE SET ended_at = coalesce(s.ended_at, excluded.ended_at)
    WHERE s.subject = excluded.subject;
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.end_session(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
