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

-- When the provider last said whether the session lives, by its own clock.
ALTER TABLE tenancy.sessions ADD provider_at_ms bigint NOT NULL DEFAULT 0;

-- The parts of what the server signed for the gate: prefix|key|…|expires at|nonce|mac. Anything else,
-- such as a context or a signed text of another prefix, is refused.
CREATE FUNCTION tenancy.verified(signed text, prefix text, parts integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p text[] := string_to_array(signed, '|');
BEGIN
  IF p[1] IS DISTINCT FROM prefix OR cardinality(p) IS DISTINCT FROM parts THEN
    RAISE EXCEPTION 'event malformed' USING ERRCODE = 'ZT001';
  END IF;
  IF sha256(tenancy.hmac('context', p[2]::smallint, array_to_string(p[1:parts - 1], '|')))
     IS DISTINCT FROM sha256(decode(p[parts], 'hex')) THEN
    RAISE EXCEPTION 'event forged' USING ERRCODE = 'ZT002';
  END IF;
  IF to_timestamp(p[parts - 2]::double precision)
     NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute' THEN
    RAISE EXCEPTION 'event expired' USING ERRCODE = 'ZT003';
  END IF;
  RETURN p;
END $$;

-- Whether a delivery has had no effect yet; from now on it has.
CREATE FUNCTION tenancy.is_new(delivery text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- The provider tries for a day and a half; what is a week old is not tried again.
  DELETE FROM tenancy.deliveries d WHERE d.at < clock_timestamp() - interval '7 days';
  INSERT INTO tenancy.deliveries (id) VALUES (delivery) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;

-- The provider's word on a session: e1|key|delivery|session|subject|ended|at ms|expires at|nonce|mac.
-- Gives whether this delivery is new. The newest word counts, of two at one time the end; a session of
-- somebody else is left alone.
CREATE FUNCTION tenancy.note_session(event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'e1', 10);
BEGIN
  IF NOT tenancy.is_new(p[3]) THEN RETURN false; END IF;
  INSERT INTO tenancy.sessions AS s (session, subject, ended_at, provider_at_ms)
    VALUES (p[4], p[5], CASE WHEN p[6]::boolean THEN clock_timestamp() END, p[7]::bigint)
    ON CONFLICT (session) DO UPDATE SET ended_at = excluded.ended_at, provider_at_ms = excluded.provider_at_ms
    WHERE s.subject = excluded.subject AND (excluded.provider_at_ms, excluded.ended_at IS NOT NULL)
      > (s.provider_at_ms, s.ended_at IS NOT NULL);
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.note_session(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
