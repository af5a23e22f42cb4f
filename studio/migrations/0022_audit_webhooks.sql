-- The studio's ledger told to the studio's SIEM as it grows, by the deliveries that tell of bookings. What
-- is told is a run of numbers; telling makes entries too, which go along with the next others: alone they
-- are no reason to tell, or telling would never end.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;

ALTER TABLE studio.webhooks
  ADD COLUMN kind text NOT NULL DEFAULT 'bookings' CHECK (kind IN ('bookings', 'audit')),
  -- Of the ledger everything before this number has its delivery.
  ADD COLUMN told_until bigint CHECK (told_until >= 0),
  ADD CONSTRAINT webhooks_told CHECK ((kind = 'audit') = (told_until IS NOT NULL)),
  ALTER kind SET STATISTICS 0;
CREATE POLICY gate_move ON studio.webhooks FOR UPDATE TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT (kind, told_until), UPDATE (told_until) ON studio.webhooks TO {app}_gate;

ALTER TABLE studio.deliveries
  ALTER booking_id DROP NOT NULL, ALTER booking_version DROP NOT NULL,
  ADD COLUMN first_seq bigint, ADD COLUMN last_seq bigint,
  ADD CONSTRAINT deliveries_of_one_thing CHECK (num_nonnulls(booking_id, booking_version) = 2 AND num_nonnulls(first_seq, last_seq) = 0
    OR num_nonnulls(booking_id, booking_version) = 0 AND num_nonnulls(first_seq, last_seq) = 2 AND first_seq <= last_seq),
  ADD CONSTRAINT deliveries_entries_once UNIQUE (tenant_id, webhook_id, first_seq);

-- The service that tells reads what it tells, and nobody else than owners does.
CREATE POLICY told ON ledger.entries FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'delivery');
CREATE POLICY told ON ledger.leaves FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'delivery');

SET LOCAL ROLE {app}_ledger;
-- Whether among these entries is one that is not of the telling itself.
CREATE FUNCTION ledger.is_news(tenant uuid, first bigint, last bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN EXISTS (SELECT FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
    WHERE l.tenant_id = tenant AND l.seq BETWEEN first AND last AND e.body ->> 'actor' <> 'service:delivery');
END $$;
GRANT EXECUTE ON FUNCTION ledger.is_news(uuid, bigint, bigint) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
CREATE OR REPLACE FUNCTION studio.tell_version() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO studio.deliveries (tenant_id, id, webhook_id, booking_id, booking_version)
    SELECT w.tenant_id, gen_random_uuid(), w.id, NEW.source_id, NEW.version FROM studio.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND w.kind = 'bookings' AND NOT w.is_paused AND w.archived_at IS NULL;
  IF FOUND THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'deliveries', clock_timestamp());
  END IF;
  RETURN NULL;
END $$;

-- Entries got their numbers. No studio is bound then, so that the worker makes the deliveries.
CREATE FUNCTION studio.tell_numbered() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  run record;
BEGIN
  FOR run IN
    SELECT a.tenant_id, min(a.seq) AS first, max(a.seq) AS last FROM added a
      WHERE EXISTS (SELECT FROM studio.webhooks w
        WHERE w.tenant_id = a.tenant_id AND w.kind = 'audit' AND NOT w.is_paused AND w.archived_at IS NULL)
      GROUP BY a.tenant_id
  LOOP
    IF ledger.is_news(run.tenant_id, run.first, run.last) THEN
      PERFORM jobs.schedule(run.tenant_id, 'entries', clock_timestamp());
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

-- Makes deliveries of what is numbered and not told, a hundred entries each and fifty deliveries at most:
-- w1|key|tenant|expires at|nonce|mac. Gives how many.
CREATE FUNCTION studio.tell_entries(event text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'w1', 6);
  tenant uuid := p[3];
  size bigint := (SELECT h.size FROM ledger.heads h WHERE h.tenant_id = tenant);
  hook record;
  first bigint;
  made integer := 0;
BEGIN
  PERFORM studio.expect_bound(tenant);
  FOR hook IN SELECT w.id, w.told_until FROM studio.webhooks w
    WHERE w.tenant_id = tenant AND w.kind = 'audit' AND NOT w.is_paused AND w.archived_at IS NULL AND w.told_until < size
    ORDER BY w.id FOR NO KEY UPDATE
  LOOP
    first := hook.told_until;
    WHILE first < size AND made < 50 LOOP
      INSERT INTO studio.deliveries (tenant_id, id, webhook_id, first_seq, last_seq)
        VALUES (tenant, gen_random_uuid(), hook.id, first, least(first + 100, size) - 1);
      first := least(first + 100, size);
      made := made + 1;
    END LOOP;
    UPDATE studio.webhooks w SET told_until = first WHERE w.tenant_id = tenant AND w.id = hook.id;
  END LOOP;
  IF made > 0 THEN
    PERFORM jobs.schedule(tenant, 'deliveries', clock_timestamp());
  END IF;
  RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION studio.tell_numbered() TO {app}_owner;
GRANT EXECUTE ON FUNCTION studio.tell_entries(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER tell AFTER INSERT ON ledger.leaves REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION studio.tell_numbered();
ALTER TABLE ledger.leaves ENABLE ALWAYS TRIGGER tell;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
