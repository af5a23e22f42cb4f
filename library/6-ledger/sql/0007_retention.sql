-- Retention removes whole tiles from a log's beginning and leaves a signed stub: how many entries are
-- gone, and the hashes from which the rest goes on. Without one that the server has signed nothing can
-- be removed that a verifier would not miss.

SET LOCAL ROLE {app}_owner;
CREATE TABLE ledger.removals (
  tenant_id uuid PRIMARY KEY,
  size bigint NOT NULL CHECK (size > 0 AND size % 256 = 0),
  -- A signed note, as docs/formats/ledger.md says.
  note text NOT NULL,
  -- What the removed entries drew: `studio audit complete` would miss them otherwise.
  tickets int8multirange NOT NULL
);
ALTER TABLE ledger.removals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON ledger.removals TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY ledger_see ON ledger.removals FOR SELECT TO {app}_ledger USING (true);
CREATE POLICY wall ON ledger.removals AS RESTRICTIVE TO {app}_app
  USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()));
CREATE POLICY see ON ledger.removals FOR SELECT TO {app}_app USING ((SELECT tenancy.role()) = 'owner');
GRANT SELECT, INSERT, UPDATE (size, note, tickets) ON ledger.removals TO {app}_gate;
GRANT SELECT ON ledger.removals TO {app}_ledger;
-- Not the tickets: their numbers are those of all studios.
GRANT SELECT (tenant_id, size, note) ON ledger.removals TO {app}_app;

CREATE POLICY gate_see ON ledger.entries FOR SELECT TO {app}_gate USING (true);
CREATE POLICY gate_remove ON ledger.entries FOR DELETE TO {app}_gate USING (true);
GRANT SELECT (tenant_id, entry_id, at, tickets), DELETE ON ledger.entries TO {app}_gate;
GRANT DELETE ON ledger.leaves TO {app}_gate;
GRANT CREATE ON SCHEMA ledger TO {app}_gate;

SET LOCAL ROLE {app}_gate;
DROP FUNCTION ledger.heads_known(text);
-- How far every log has come, with its newest checkpoint and its stub: l3|key|expires at|nonce|mac.
CREATE FUNCTION ledger.heads_known(question text)
RETURNS TABLE (tenant uuid, size bigint, edge bytea, note text, removed text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'l3', 5);
BEGIN
  RETURN QUERY SELECT h.tenant_id, h.size, h.edge,
      (SELECT c.note FROM ledger.checkpoints c WHERE c.tenant_id = h.tenant_id ORDER BY c.size DESC LIMIT 1),
      (SELECT r.note FROM ledger.removals r WHERE r.tenant_id = h.tenant_id)
    FROM ledger.heads h WHERE h.size > 0;
END $$;

-- How many entries from the first on are all older than a time, in microseconds; whole tiles, and never
-- the newest two: l5|key|tenant|time|expires at|nonce|mac.
CREATE FUNCTION ledger.removable(question text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'l5', 7);
  bound timestamptz := timestamptz 'epoch' + p[4]::bigint * interval '1 microsecond';
  whole bigint := (SELECT h.size / 256 - 1 FROM ledger.heads h WHERE h.tenant_id = p[3]::uuid);
  young bigint := (SELECT min(l.seq) FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
    WHERE l.tenant_id = p[3]::uuid AND e.at >= bound);
BEGIN
  RETURN greatest(coalesce(least(whole, young / 256), 0), 0) * 256;
END $$;

-- Removes the entries that a stub vouches for: l6|key|SHA-256 of `removal`|expires at|nonce|mac.
CREATE FUNCTION ledger.remove(event text, removal text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'l6', 6);
  said jsonb := removal::jsonb;
  tenant uuid := said ->> 'tenant';
  gone bigint := said ->> 'size';
  drawn int8multirange;
BEGIN
  IF encode(sha256(convert_to(removal, 'UTF8')), 'hex') IS DISTINCT FROM p[3] THEN
    RAISE EXCEPTION 'event forged' USING ERRCODE = 'ZT002';
  END IF;
  WITH gone_leaves AS (
    DELETE FROM ledger.leaves l WHERE l.tenant_id = tenant AND l.seq < gone RETURNING l.entry_id
  ), gone_entries AS (
    DELETE FROM ledger.entries e USING gone_leaves g WHERE e.tenant_id = tenant AND e.entry_id = g.entry_id RETURNING e.tickets
  ) SELECT range_agg(int8range(t, t, '[]')) INTO drawn FROM gone_entries g, unnest(g.tickets) t;
  INSERT INTO ledger.removals AS r (tenant_id, size, note, tickets) VALUES (tenant, gone, said ->> 'note', coalesce(drawn, '{}'))
    ON CONFLICT (tenant_id) DO UPDATE SET size = excluded.size, note = excluded.note, tickets = r.tickets + excluded.tickets
    WHERE r.size < excluded.size;
  IF NOT FOUND THEN RAISE EXCEPTION 'more is removed by now' USING ERRCODE = 'ZT022'; END IF;
  PERFORM ledger.note_service(tenant, 'retention', 'older than ' || (said ->> 'before'), 'audit.remove', 'audit', '{}');
END $$;
GRANT EXECUTE ON FUNCTION ledger.heads_known(text), ledger.removable(text), ledger.remove(text, text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_gate;
