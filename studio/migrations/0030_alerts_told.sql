-- An alert is told when it is opened, by the outbox of bookings and ledger: to webhooks that want alerts, and to
-- the studio's owners by mail.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

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
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
