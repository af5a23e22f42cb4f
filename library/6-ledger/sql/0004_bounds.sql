-- A leaf fits into a bundle of C2SP tlog-tiles, where it has 65,535 bytes at most. An entry has less
-- than 16,000; what changed beside it has the rest.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;

SET LOCAL ROLE {app}_ledger;
-- Takes what this transaction has changed in a studio since it was last taken, as JSON: the first 200
-- rows, or as many as 48,000 bytes hold, with the names of their columns, never a value.
CREATE OR REPLACE FUNCTION ledger.take_changes(tenant uuid) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changes text := '[]';
BEGIN
  IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
    WITH taken AS (
      DELETE FROM ledger.changes c WHERE c.tenant_id = tenant AND c.xact = pg_current_xact_id_if_assigned() RETURNING c.*
    ), first AS (
      SELECT t.n, ledger.canonical(jsonb_build_object('table', t.changed, 'id', t.id, 'columns', t.columns)) AS change
      FROM taken t ORDER BY t.n LIMIT 200
    ), bounded AS (SELECT f.n, f.change, sum(octet_length(f.change) + 1) OVER (ORDER BY f.n) AS bytes FROM first f)
    SELECT '[' || coalesce(string_agg(b.change, ',' ORDER BY b.n), '') || ']' INTO changes FROM bounded b WHERE b.bytes <= 48000;
  END IF;
  RETURN changes;
END $$;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
