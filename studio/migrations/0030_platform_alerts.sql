-- What looks wrong before a studio is known: refused tokens and deliveries, for operators. Nothing here is of a
-- studio: a person is a hash.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA watch;
GRANT USAGE ON SCHEMA watch TO {app}_app, {app}_gate, {app}_ops;
GRANT CREATE ON SCHEMA watch TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Owned by the gate and granted to nobody; behind row security all the same.
CREATE TABLE watch.alerts (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL CHECK (kind ~ '^[a-z-]{1,40}$'),
  severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
  subject text NOT NULL CHECK (length(subject) <= 300),
  opened_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  times integer NOT NULL DEFAULT 1
);
CREATE INDEX alerts_by_time ON watch.alerts (last_seen_at);
CREATE INDEX alerts_by_kind ON watch.alerts (kind, subject, last_seen_at);
ALTER TABLE watch.alerts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON watch.alerts TO {app}_gate USING (true) WITH CHECK (true);

-- y1|key|kind|severity|subject|time in microseconds|expires at|nonce|mac. The same within a week is one,
-- whichever process noticed it; what is older than a year goes.
CREATE FUNCTION watch.note_alert(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'y1', 9);
  at timestamptz := timestamptz 'epoch' + p[6]::bigint * interval '1 microsecond';
BEGIN
  DELETE FROM watch.alerts a WHERE a.last_seen_at < at - interval '1 year';
  UPDATE watch.alerts a SET times = least(a.times + 1, 1000000), last_seen_at = greatest(a.last_seen_at, at)
    WHERE a.kind = p[3] AND a.subject = p[5] AND a.last_seen_at > at - interval '7 days';
  IF NOT FOUND THEN
    INSERT INTO watch.alerts (kind, severity, subject, opened_at, last_seen_at) VALUES (p[3], p[4], p[5], at, at);
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION watch.note_alert(text) TO {app}_app;

-- What was noticed in so many days, the newest first.
CREATE FUNCTION watch.list_alerts(days integer)
RETURNS TABLE (kind text, severity text, subject text, opened_at timestamptz, last_seen_at timestamptz, times integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT a.kind, a.severity, a.subject, a.opened_at, a.last_seen_at, a.times FROM watch.alerts a
    WHERE a.last_seen_at > clock_timestamp() - make_interval(days => least(days, 366)) ORDER BY a.last_seen_at DESC, a.id DESC LIMIT 1000;
END $$;
GRANT EXECUTE ON FUNCTION watch.list_alerts(integer) TO {app}_ops;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA watch FROM {app}_gate;
