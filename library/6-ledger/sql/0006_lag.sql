-- How long entries wait for their numbers: what is not yet under a checkpoint could be removed unseen.

SET LOCAL ROLE {app}_owner;
-- When it was written; `at` is when its request arrived.
ALTER TABLE ledger.waiting ADD COLUMN written_at timestamptz NOT NULL DEFAULT clock_timestamp();
GRANT CREATE ON SCHEMA ledger TO {app}_gate;

SET LOCAL ROLE {app}_gate;
DROP FUNCTION ledger.gather(text);
-- What waits in some studios, with how far their logs have come, and for how long the first has waited:
-- l1|key|most|expires at|nonce|mac. Their heads are locked for the rest of the transaction; those that
-- another process has are left to it. Signed, because whoever may call it learns which studios are at
-- work.
CREATE FUNCTION ledger.gather(question text)
RETURNS TABLE (tenant uuid, size bigint, edge bytea, chain bytea, entries uuid[], hashes bytea, lag_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  p text[] := tenancy.verified(question, 'l1', 6);
  taken uuid[];
BEGIN
  INSERT INTO ledger.heads (tenant_id) SELECT DISTINCT w.tenant_id FROM ledger.waiting w ON CONFLICT DO NOTHING;
  taken := ARRAY(
    SELECT h.tenant_id FROM ledger.heads h WHERE EXISTS (SELECT FROM ledger.waiting w WHERE w.tenant_id = h.tenant_id)
      LIMIT p[3]::integer FOR UPDATE OF h SKIP LOCKED);
  -- A new statement: what was numbered until the locks were ours waits no more in its snapshot.
  RETURN QUERY
    SELECT h.tenant_id, h.size, h.edge, h.chain, first.entries, first.hashes,
      greatest(0, ceil(extract(epoch FROM clock_timestamp() - first.written_at) * 1000))::bigint
    FROM ledger.heads h, LATERAL (
      SELECT array_agg(w.entry_id ORDER BY w.at, w.entry_id) AS entries,
             string_agg(w.hash, '' ORDER BY w.at, w.entry_id) AS hashes, min(w.written_at) AS written_at
      FROM (SELECT v.entry_id, v.at, v.hash, v.written_at FROM ledger.waiting v
              WHERE v.tenant_id = h.tenant_id ORDER BY v.at, v.entry_id LIMIT 1000) w
    ) first
    WHERE h.tenant_id = ANY (taken) AND first.entries IS NOT NULL;
END $$;
GRANT EXECUTE ON FUNCTION ledger.gather(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_gate;
