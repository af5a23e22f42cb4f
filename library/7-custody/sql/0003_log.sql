-- The ledger's own retention: `ledger.remove` takes whole tiles from its beginning away. What may go is said
-- here, and triggers see to it, whatever the server signs.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;
GRANT CREATE ON SCHEMA ledger TO {app}_gate;

-- How long logs are kept at least. They are no rule of `custody.rules`: nothing removes single rows of them.
CREATE TABLE custody.logs (
  name text PRIMARY KEY CHECK (name ~ '^[a-z_]{1,32}$'),
  least_days integer NOT NULL CHECK (least_days > 0)
);
INSERT INTO custody.logs VALUES ('ledger', 365);
GRANT SELECT ON custody.logs TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- The time before which entries of a studio's ledger are not held: of a person, a project or the studio every
-- entry may tell, of a window those that lie in it.
CREATE FUNCTION custody.log_free_until(tenant uuid) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT custody.has_holds(tenant) THEN RETURN 'infinity'; END IF;
  RETURN (SELECT min(CASE h.scope WHEN 'window' THEN h.starts_at ELSE '-infinity' END)
    FROM custody.legal_holds h WHERE h.tenant_id = tenant AND h.released_at IS NULL);
END $$;

CREATE FUNCTION custody.log_over_until() RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN clock_timestamp() - (SELECT make_interval(days => l.least_days) FROM custody.logs l WHERE l.name = 'ledger');
END $$;

-- c5|key|tenant|rule|until|expires at|nonce|mac: until when a log may go, null: not at all; and how many
-- entries are over, held ones too.
CREATE FUNCTION custody.log_until(question text, OUT until timestamptz, OUT over bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'c5', 8);
  tenant uuid := p[3];
BEGIN
  until := least(custody.expect_over(p[3], p[4], p[5]), custody.log_over_until());
  over := (SELECT count(*) FROM ledger.entries e WHERE e.tenant_id = tenant AND e.at < until) / 256 * 256;
  until := nullif(least(until, custody.log_free_until(tenant)), '-infinity');
END $$;
GRANT EXECUTE ON FUNCTION custody.log_until(text) TO {app}_app;

-- As before, and none that is held: a stub of it would be outside before the trigger refuses.
CREATE OR REPLACE FUNCTION ledger.removable(question text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'l5', 7);
  tenant uuid := p[3];
  bound timestamptz := least(timestamptz 'epoch' + p[4]::bigint * interval '1 microsecond', custody.log_over_until(),
    custody.log_free_until(tenant));
  whole bigint := (SELECT h.size / 256 - 1 FROM ledger.heads h WHERE h.tenant_id = tenant);
  young bigint := (SELECT min(l.seq) FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
    WHERE l.tenant_id = tenant AND e.at >= bound);
BEGIN
  RETURN greatest(coalesce(least(whole, young / 256), 0), 0) * 256;
END $$;

-- What is held stays, whoever asks.
CREATE FUNCTION custody.keep_entries() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF EXISTS (SELECT FROM gone g GROUP BY g.tenant_id HAVING max(g.at) >= custody.log_free_until(g.tenant_id)) THEN
    PERFORM custody.refuse();
  END IF;
  RETURN NULL;
END $$;

-- And what is younger than the least of days, whatever the server signs.
CREATE FUNCTION custody.keep_young() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF EXISTS (SELECT FROM gone g WHERE g.at >= custody.log_over_until()) THEN
    RAISE EXCEPTION 'kept for longer' USING ERRCODE = 'ZT051';
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION custody.keep_entries(), custody.keep_young() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER keep_entries AFTER DELETE ON ledger.entries REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION custody.keep_entries();
-- Who removes entries by force is found by whoever verifies the log.
CREATE TRIGGER keep_young AFTER DELETE ON ledger.entries REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT WHEN (current_user = '{app}_gate') EXECUTE FUNCTION custody.keep_young();
ALTER TABLE ledger.entries ENABLE ALWAYS TRIGGER keep_entries, ENABLE ALWAYS TRIGGER keep_young;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
REVOKE CREATE ON SCHEMA ledger FROM {app}_gate;
