-- The log: each studio's entries numbered from 0 without gaps, the leaves of a Merkle tree (RFC 6962)
-- whose root is signed outside the database. What is computed is computed by the server, which has
-- the signing key; the functions here only hand it hashes and keep what it gives back.

SET LOCAL ROLE {app}_owner;
CREATE TABLE ledger.leaves (
  tenant_id uuid NOT NULL,
  seq bigint NOT NULL CHECK (seq >= 0),
  entry_id uuid NOT NULL,
  hash bytea NOT NULL CHECK (length(hash) = 32),
  -- Over the leaf before and this one: says exactly where an order was broken, where the root says
  -- only that it was.
  chain bytea NOT NULL CHECK (length(chain) = 32),
  PRIMARY KEY (tenant_id, seq),
  UNIQUE (tenant_id, entry_id)
);
-- Roots of whole tiles: of level 1 over 256 leaves, of level 2 over 256 of those.
CREATE TABLE ledger.nodes (
  tenant_id uuid NOT NULL,
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 7),
  position bigint NOT NULL CHECK (position >= 0),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant_id, level, position)
);
-- How far a log has come: its size, the roots of the whole trees that it consists of, largest first,
-- and the chain's end.
CREATE TABLE ledger.heads (
  tenant_id uuid PRIMARY KEY,
  size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
  edge bytea NOT NULL DEFAULT '' CHECK (length(edge) % 32 = 0),
  chain bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(chain) = 32)
);
-- Signed notes. A later one covers all that an earlier one does, so the last of each day is kept.
CREATE TABLE ledger.checkpoints (
  tenant_id uuid NOT NULL,
  day date NOT NULL,
  size bigint NOT NULL,
  note text NOT NULL,
  PRIMARY KEY (tenant_id, day)
);

DO $walls$
DECLARE
  log_table text;
BEGIN
  FOREACH log_table IN ARRAY ARRAY['leaves', 'nodes', 'heads', 'checkpoints'] LOOP
    EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', log_table);
    EXECUTE format('CREATE POLICY gate ON ledger.%I TO {app}_gate USING (true) WITH CHECK (true)', log_table);
    EXECUTE format('CREATE POLICY ledger_see ON ledger.%I FOR SELECT TO {app}_ledger USING (true)', log_table);
    EXECUTE format('GRANT SELECT ON ledger.%I TO {app}_ledger', log_table);
    EXECUTE format('CREATE POLICY wall ON ledger.%I AS RESTRICTIVE TO {app}_app
      USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', log_table);
    EXECUTE format('CREATE POLICY see ON ledger.%I FOR SELECT TO {app}_app USING ((SELECT tenancy.role()) = ''owner'')', log_table);
  END LOOP;
END $walls$;
GRANT SELECT ON ledger.leaves, ledger.nodes, ledger.checkpoints TO {app}_app;
CREATE POLICY gate ON ledger.waiting TO {app}_gate USING (true);
GRANT SELECT, DELETE ON ledger.waiting TO {app}_gate;
GRANT SELECT, INSERT ON ledger.leaves, ledger.nodes TO {app}_gate;
GRANT SELECT, INSERT, UPDATE (size, edge, chain) ON ledger.heads TO {app}_gate;
GRANT SELECT, INSERT, UPDATE (size, note) ON ledger.checkpoints TO {app}_gate;
GRANT CREATE ON SCHEMA ledger TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- What waits in some studios, with how far their logs have come: l1|key|most|expires at|nonce|mac.
-- Their heads are locked for the rest of the transaction; those that another process has are left to
-- it. Signed, because whoever may call it learns which studios are at work.
CREATE FUNCTION ledger.gather(question text)
RETURNS TABLE (tenant uuid, size bigint, edge bytea, chain bytea, entries uuid[], hashes bytea)
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
    SELECT h.tenant_id, h.size, h.edge, h.chain, first.entries, first.hashes
    FROM ledger.heads h, LATERAL (
      SELECT array_agg(w.entry_id ORDER BY w.at, w.entry_id) AS entries,
             string_agg(w.hash, '' ORDER BY w.at, w.entry_id) AS hashes
      FROM (SELECT v.entry_id, v.at, v.hash FROM ledger.waiting v
              WHERE v.tenant_id = h.tenant_id ORDER BY v.at, v.entry_id LIMIT 1000) w
    ) first
    WHERE h.tenant_id = ANY (taken) AND first.entries IS NOT NULL;
END $$;

-- Keeps what became of it: l2|key|SHA-256 of `logs`|expires at|nonce|mac. All of a transaction or
-- nothing.
CREATE FUNCTION ledger.seal(event text, logs text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  p text[] := tenancy.verified(event, 'l2', 6);
  log record;
  numbered bigint;
BEGIN
  IF encode(sha256(convert_to(logs, 'UTF8')), 'hex') IS DISTINCT FROM p[3] THEN
    RAISE EXCEPTION 'event forged' USING ERRCODE = 'ZT002';
  END IF;
  FOR log IN SELECT l.* FROM jsonb_to_recordset(logs::jsonb) l(
    tenant uuid, before bigint, size bigint, edge text, entries uuid[], chains text[], nodes jsonb, day date, note text)
  LOOP
    WITH taken AS (
      DELETE FROM ledger.waiting w USING unnest(log.entries, log.chains) WITH ORDINALITY u(entry, chain, n)
        WHERE w.tenant_id = log.tenant AND w.entry_id = u.entry
        RETURNING u.entry, u.chain, u.n, w.hash
    ) INSERT INTO ledger.leaves (tenant_id, seq, entry_id, hash, chain)
      SELECT log.tenant, log.before + t.n - 1, t.entry, t.hash, decode(t.chain, 'hex') FROM taken t;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    UPDATE ledger.heads h SET size = log.size, edge = decode(log.edge, 'hex'),
      chain = decode(log.chains[cardinality(log.chains)], 'hex')
      WHERE h.tenant_id = log.tenant AND h.size = log.before AND log.size = log.before + numbered;
    IF NOT FOUND THEN RAISE EXCEPTION 'the log is elsewhere by now' USING ERRCODE = 'ZT022'; END IF;
    INSERT INTO ledger.nodes (tenant_id, level, position, hash)
      SELECT log.tenant, n.level, n.position, decode(n.hash, 'hex')
      FROM jsonb_to_recordset(log.nodes) n(level smallint, position bigint, hash text);
    INSERT INTO ledger.checkpoints AS c (tenant_id, day, size, note) VALUES (log.tenant, log.day, log.size, log.note)
      ON CONFLICT (tenant_id, day) DO UPDATE SET size = excluded.size, note = excluded.note;
  END LOOP;
END $$;

-- How far every log has come, with its newest checkpoint: l3|key|expires at|nonce|mac.
CREATE FUNCTION ledger.heads_known(question text)
RETURNS TABLE (tenant uuid, size bigint, edge bytea, note text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'l3', 5);
BEGIN
  RETURN QUERY SELECT h.tenant_id, h.size, h.edge,
      (SELECT c.note FROM ledger.checkpoints c WHERE c.tenant_id = h.tenant_id ORDER BY c.size DESC LIMIT 1)
    FROM ledger.heads h WHERE h.size > 0;
END $$;

-- The hashes of a log's leaves, one after the other: l4|key|tenant|from|most|expires at|nonce|mac.
CREATE FUNCTION ledger.hashes(question text) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'l4', 8);
BEGIN
  RETURN (SELECT coalesce(string_agg(l.hash, '' ORDER BY l.seq), '') FROM (
    SELECT v.seq, v.hash FROM ledger.leaves v WHERE v.tenant_id = p[3]::uuid AND v.seq >= p[4]::bigint
      ORDER BY v.seq LIMIT least(p[5]::integer, 20000)) l);
END $$;
GRANT EXECUTE ON FUNCTION ledger.gather(text), ledger.seal(text, text), ledger.heads_known(text), ledger.hashes(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_gate;
