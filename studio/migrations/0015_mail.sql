-- Members are told by mail of what concerns them, from the same outbox as webhooks: a delivery leads to a
-- webhook or to a member.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

ALTER TABLE studio.deliveries
  ALTER webhook_id DROP NOT NULL,
  ADD COLUMN member_id uuid,
  ADD CONSTRAINT deliveries_target CHECK (num_nonnulls(webhook_id, member_id) = 1),
  ADD CONSTRAINT deliveries_mailed_once UNIQUE (tenant_id, member_id, booking_id, booking_version);
SELECT tenancy.add_reference('studio.deliveries', 'deliveries_member',
  'FOREIGN KEY (tenant_id, member_id) REFERENCES tenancy.members (tenant_id, id)');

SET LOCAL ROLE {app}_gate;
-- A version is told to whoever's time it is, unless they made it so or want no mail: when it is firm,
-- moved, called off or challenged, and not of every draft.
CREATE FUNCTION studio.mail_version() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF NEW.deed NOT IN ('confirm', 'change', 'release', 'cancel', 'challenge', 'expire', 'lapse', 'undo', 'archive')
     AND NOT (NEW.deed = 'create' AND NEW.state = 'confirmed') THEN
    RETURN NULL;
  END IF;
  INSERT INTO studio.deliveries (tenant_id, id, member_id, booking_id, booking_version)
    SELECT m.tenant_id, gen_random_uuid(), m.id, NEW.source_id, NEW.version FROM tenancy.members m
    WHERE m.tenant_id = NEW.tenant_id AND m.artist_id = NEW.artist_id AND m.mails AND m.email IS NOT NULL
      AND m.state = 'active' AND NOT m.provider_removed AND m.id::text <> NEW.actor;
  IF FOUND THEN
    PERFORM jobs.schedule(NEW.tenant_id, 'deliveries', clock_timestamp());
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.mail_version() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER mail AFTER INSERT ON studio.booking_versions FOR EACH ROW EXECUTE FUNCTION studio.mail_version();
ALTER TABLE studio.booking_versions ENABLE ALWAYS TRIGGER mail;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
