-- What the platform is doing, in counts and times: for metrics and for whoever looks at the server's health. Nothing here is of a studio.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA watch TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- y2|key|expires at|nonce|mac. Of each: what it is, of which kind, how many there are, and since when the first of them is.
CREATE FUNCTION watch.figures(question text) RETURNS TABLE (what text, name text, many bigint, since timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM tenancy.verified(question, 'y2', 5);
  RETURN QUERY SELECT 'clock', '', 1::bigint, clock_timestamp();
  -- The one that signs: whoever rotated it left the others to those that still come.
  RETURN QUERY SELECT 'key', 'context', k.id::bigint, k.created_at FROM tenancy.keys k
    WHERE k.purpose = 'context' AND k.retired_at IS NULL ORDER BY k.id DESC LIMIT 1;
  RETURN QUERY SELECT 'jobs', d.kind, count(*), min(d.due_at) FROM jobs.due d WHERE d.due_at <= clock_timestamp() GROUP BY d.kind;
  RETURN QUERY SELECT 'studios', s.status, count(*), NULL::timestamptz FROM tenancy.studios s GROUP BY s.status;
  -- Beyond so many it is a flood, however many they are.
  RETURN QUERY SELECT 'entries', '', count(*), min(w.written_at) FROM (SELECT v.written_at FROM ledger.waiting v LIMIT 100000) w;
  RETURN QUERY SELECT 'locks', '', count(*), min(l.waitstart) FROM pg_locks l
    WHERE NOT l.granted AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  RETURN QUERY SELECT 'processes', '', count(*), NULL::timestamptz FROM tenancy.processes t WHERE t.seen_at > clock_timestamp() - interval '10 seconds';
END $$;
GRANT EXECUTE ON FUNCTION watch.figures(text) TO {app}_app;

-- y6|key|archives|hours|expires at|nonce|mac. Of the studios that are active: how many have no archive of the last hours, and of when the newest
-- is of the one whose is the oldest. An archive is `studio:seconds`, the newest of that studio; with commas. A studio without one is as old.
CREATE FUNCTION watch.archived(question text) RETURNS TABLE (many bigint, since timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'y6', 7);
BEGIN
  RETURN QUERY SELECT count(*) FILTER (WHERE v.newest < clock_timestamp() - make_interval(hours => p[4]::integer)), min(v.newest) FROM (
    SELECT greatest(s.created_at, to_timestamp(split_part(a.archive, ':', 2)::bigint)) AS newest FROM tenancy.studios s
    LEFT JOIN unnest(string_to_array(p[3], ',')) a (archive) ON split_part(a.archive, ':', 1)::uuid = s.tenant_id
    WHERE s.status = 'active') v;
END $$;
GRANT EXECUTE ON FUNCTION watch.archived(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA watch FROM {app}_gate;
