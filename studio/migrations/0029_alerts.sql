-- What looks wrong in a studio: alerts for its owners, and what the detectors have learned. The service `watch`
-- reads the studio's ledger as it grows, in the studio's own context, and writes nothing but these two.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;

CREATE TABLE studio.alerts (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL CHECK (kind ~ '^[a-z-]{1,40}$'),
  severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'closed')),
  -- An actor of the ledger; null: it is about nobody alone.
  subject text CHECK (length(subject) BETWEEN 1 AND 300),
  opened_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  times integer NOT NULL DEFAULT 1 CHECK (times > 0),
  -- Numbers of the ledger's entries that show it.
  evidence bigint[] NOT NULL CHECK (cardinality(evidence) BETWEEN 1 AND 50),
  note text NOT NULL DEFAULT '' CHECK (length(note) <= 10000),
  PRIMARY KEY (tenant_id, id)
);
-- The same about the same is one, until somebody closed it.
CREATE UNIQUE INDEX alerts_once ON studio.alerts (tenant_id, kind, subject) NULLS NOT DISTINCT WHERE state <> 'closed';
CREATE INDEX alerts_by_opening ON studio.alerts (tenant_id, opened_at, id);
SELECT tenancy.protect('studio.alerts');
CREATE POLICY watch_adds ON studio.alerts AS RESTRICTIVE FOR INSERT TO {app}_app
  WITH CHECK ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'watch');
CREATE POLICY owners_handle ON studio.alerts AS RESTRICTIVE FOR UPDATE TO {app}_app
  USING ((SELECT tenancy.role()) = 'owner' OR (SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'watch');
GRANT SELECT, INSERT, UPDATE (version, updated_at, severity, state, last_seen_at, times, evidence, note) ON studio.alerts TO {app}_app;

-- How far the ledger was looked at, and what was learned of it. Nobody but the service reads it.
CREATE TABLE studio.watching (
  tenant_id uuid PRIMARY KEY REFERENCES tenancy.studios,
  id uuid NOT NULL CHECK (id = tenant_id),
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- Every entry before this number was looked at.
  seen_until bigint NOT NULL DEFAULT 0 CHECK (seen_until >= 0),
  -- As the room 8-watch writes it; null: nothing yet.
  learned text CHECK (length(learned) <= 20000000)
);
SELECT tenancy.protect('studio.watching');
CREATE POLICY watch ON studio.watching AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'watch');
CREATE POLICY gate ON studio.watching TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (version, updated_at, seen_until, learned) ON studio.watching TO {app}_app;
GRANT SELECT (tenant_id), INSERT (tenant_id, id) ON studio.watching TO {app}_gate;

-- The service reads the entries that it looks at.
CREATE POLICY watched ON ledger.entries FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'watch');
CREATE POLICY watched ON ledger.leaves FOR SELECT TO {app}_app
  USING ((SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'watch');

SET LOCAL ROLE {app}_ledger;
-- Whether among these entries is one of a person: services are not looked at, and looking makes entries too.
CREATE FUNCTION ledger.is_of_people(tenant uuid, first bigint, last bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN EXISTS (SELECT FROM ledger.leaves l JOIN ledger.entries e USING (tenant_id, entry_id)
    WHERE l.tenant_id = tenant AND l.seq BETWEEN first AND last
      AND e.body ->> 'actor' NOT LIKE 'service:%' AND e.body ->> 'actor' NOT LIKE 'operator:%');
END $$;
GRANT EXECUTE ON FUNCTION ledger.is_of_people(uuid, bigint, bigint) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Entries got their numbers: they are to be looked at, once in fifteen seconds and not for each of them.
CREATE FUNCTION studio.watch_numbered() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  run record;
BEGIN
  FOR run IN SELECT a.tenant_id, min(a.seq) AS first, max(a.seq) AS last FROM added a GROUP BY a.tenant_id LOOP
    IF ledger.is_of_people(run.tenant_id, run.first, run.last) THEN
      PERFORM jobs.schedule(run.tenant_id, 'watch', date_bin('15 seconds', clock_timestamp(), 'epoch') + interval '15 seconds');
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

-- Each studio is watched.
CREATE FUNCTION studio.begin_watching() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO tenancy.services (tenant_id, name) VALUES (NEW.tenant_id, 'watch');
  INSERT INTO studio.watching (tenant_id, id) VALUES (NEW.tenant_id, NEW.tenant_id);
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.watch_numbered(), studio.begin_watching() TO {app}_owner;
SET LOCAL row_security = on;
INSERT INTO tenancy.services (tenant_id, name) SELECT s.tenant_id, 'watch' FROM tenancy.studios s;
INSERT INTO studio.watching (tenant_id, id) SELECT s.tenant_id, s.tenant_id FROM tenancy.studios s;
SET LOCAL row_security = off;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER watch AFTER INSERT ON ledger.leaves REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION studio.watch_numbered();
ALTER TABLE ledger.leaves ENABLE ALWAYS TRIGGER watch;
CREATE TRIGGER begin_watching AFTER INSERT ON tenancy.studios FOR EACH ROW EXECUTE FUNCTION studio.begin_watching();
ALTER TABLE tenancy.studios ENABLE ALWAYS TRIGGER begin_watching;

SELECT custody.keeps('studio.alerts', starts => 'opened_at', ends => 'last_seen_at',
    lets => '{version,updated_at,severity,state,last_seen_at,times,evidence,note}'),
  custody.entrust('studio.alerts'),
  custody.keeps('studio.watching', lets => '{version,updated_at,seen_until,learned}');

-- An alert is told when it is opened, by the outbox of bookings and ledger: to webhooks that want alerts, and to
-- the studio's owners by mail.
ALTER TABLE studio.webhooks
  DROP CONSTRAINT webhooks_kind_check,
  ADD CONSTRAINT webhooks_kind CHECK (kind IN ('bookings', 'audit', 'alerts'));
ALTER TABLE studio.deliveries
  ADD COLUMN alert_id uuid,
  DROP CONSTRAINT deliveries_of_one_thing,
  ADD CONSTRAINT deliveries_of_one_thing CHECK (num_nonnulls(booking_id, booking_version) IN (0, 2) AND num_nonnulls(first_seq, last_seq) IN (0, 2)
    AND num_nonnulls(booking_id, first_seq, alert_id) = 1 AND (first_seq IS NULL OR first_seq <= last_seq)),
  ADD CONSTRAINT deliveries_alert_once UNIQUE (tenant_id, webhook_id, alert_id),
  ADD CONSTRAINT deliveries_alert_mailed_once UNIQUE (tenant_id, member_id, alert_id);
SELECT tenancy.add_reference('studio.deliveries', 'deliveries_alert', 'FOREIGN KEY (tenant_id, alert_id) REFERENCES studio.alerts (tenant_id, id)');

SELECT custody.retains('alerts', 15, 'studio.alerts', since => 't.updated_at', is_over => 't.state = ''closed''', least_days => 30,
  with_rels => '{studio.deliveries}', with_columns => '{alert_id}');

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION studio.tell_alert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM studio.expect_bound(NEW.tenant_id);
  INSERT INTO studio.deliveries (tenant_id, id, webhook_id, alert_id)
    SELECT w.tenant_id, gen_random_uuid(), w.id, NEW.id FROM studio.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND w.kind = 'alerts' AND NOT w.is_paused AND w.archived_at IS NULL;
  INSERT INTO studio.deliveries (tenant_id, id, member_id, alert_id)
    SELECT m.tenant_id, gen_random_uuid(), m.id, NEW.id FROM tenancy.members m
    WHERE m.tenant_id = NEW.tenant_id AND m.ceiling = 'owner' AND m.provider_role = 'owner' AND m.mails AND m.email IS NOT NULL
      AND m.state = 'active' AND NOT m.provider_removed;
  PERFORM jobs.schedule(NEW.tenant_id, 'deliveries', clock_timestamp());
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.tell_alert() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER tell AFTER INSERT ON studio.alerts FOR EACH ROW EXECUTE FUNCTION studio.tell_alert();
ALTER TABLE studio.alerts ENABLE ALWAYS TRIGGER tell;

-- Both go into a studio's archive and stay as they are when it is restored, as what is told does. Both go when
-- the studio is closed.
SELECT custody.archives('studio.alerts', 215, is_restored => false), custody.archives('studio.watching', 216, is_restored => false),
  custody.shreds(11, 'studio.alerts'), custody.shreds(12, 'studio.watching');
-- What was learned is how the studio's people are looked at, and no record of them: in no export.
SELECT custody.withholds('studio.watching');
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
