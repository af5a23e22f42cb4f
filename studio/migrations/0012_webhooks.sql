-- Where a studio wants to be told of changes, and what became of each telling. The outbox is the
-- history of bookings itself: a version and its deliveries are written in the change's transaction.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

CREATE TABLE studio.webhooks (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
  -- What deliveries are signed with. Sealed by the vault.
  secret bytea NOT NULL,
  is_paused boolean NOT NULL DEFAULT false,
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
SELECT tenancy.protect('studio.webhooks');
SELECT vault.seals('studio.webhooks', 'studio', '{secret}');
CREATE POLICY owners ON studio.webhooks AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) IN ('owner', 'service')) WITH CHECK ((SELECT tenancy.role()) = 'owner');
CREATE POLICY gate ON studio.webhooks FOR SELECT TO {app}_gate USING (true);
GRANT SELECT, INSERT, UPDATE (version, updated_at, url, is_paused, archived_at) ON studio.webhooks TO {app}_app;
GRANT SELECT (tenant_id, id, is_paused, archived_at) ON studio.webhooks TO {app}_gate;

CREATE TABLE studio.deliveries (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  webhook_id uuid NOT NULL,
  booking_id uuid NOT NULL,
  booking_version integer NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  -- When the next attempt is due. It is moved on before each is made: who dies in between has made it.
  next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- What the last attempt was answered; null: nothing.
  status integer,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT deliveries_once UNIQUE (tenant_id, webhook_id, booking_id, booking_version),
  CONSTRAINT deliveries_webhook FOREIGN KEY (tenant_id, webhook_id) REFERENCES studio.webhooks (tenant_id, id),
  CONSTRAINT deliveries_booking FOREIGN KEY (tenant_id, booking_id, booking_version)
    REFERENCES studio.booking_versions (tenant_id, source_id, version)
);
CREATE INDEX deliveries_by_time ON studio.deliveries (tenant_id, created_at, id);
CREATE INDEX deliveries_due ON studio.deliveries (tenant_id, next_at) WHERE state = 'pending';
SELECT tenancy.protect('studio.deliveries');
CREATE POLICY owners ON studio.deliveries AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) IN ('owner', 'service'));
CREATE POLICY gate ON studio.deliveries FOR INSERT TO {app}_gate WITH CHECK (true);
GRANT SELECT, UPDATE (version, updated_at, state, attempts, next_at, status) ON studio.deliveries TO {app}_app;
GRANT INSERT ON studio.deliveries TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- A version of a booking is to be told wherever the studio wants to be told.
CREATE FUNCTION studio.tell_version() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO studio.deliveries (tenant_id, id, webhook_id, booking_id, booking_version)
    SELECT w.tenant_id, gen_random_uuid(), w.id, NEW.source_id, NEW.version FROM studio.webhooks w
    WHERE w.tenant_id = NEW.tenant_id AND NOT w.is_paused AND w.archived_at IS NULL;
  IF FOUND THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'deliveries', clock_timestamp());
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION studio.tell_again() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM studio.expect_bound(NEW.tenant_id);
  IF NEW.state = 'pending' THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'deliveries', NEW.next_at);
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.tell_version(), studio.tell_again() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER tell AFTER INSERT ON studio.booking_versions FOR EACH ROW EXECUTE FUNCTION studio.tell_version();
ALTER TABLE studio.booking_versions ENABLE ALWAYS TRIGGER tell;
CREATE TRIGGER tell_again AFTER UPDATE ON studio.deliveries FOR EACH ROW EXECUTE FUNCTION studio.tell_again();
ALTER TABLE studio.deliveries ENABLE ALWAYS TRIGGER tell_again;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
