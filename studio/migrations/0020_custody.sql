-- Which of the product's rows a legal hold keeps. What is made of others and can be made again is not
-- among them: `occupancy` follows its booking.

SET LOCAL ROLE {app}_owner;
SELECT custody.keeps('studio.settings'),
  custody.keeps('studio.artists', people => '{id}'),
  custody.keeps('studio.projects', project => 'id', starts => 'starts_on', ends => 'ends_on'),
  custody.keeps('studio.bookings', people => '{artist_id}', project => 'project_id', starts => 'starts_at', ends => 'ends_at'),
  custody.keeps('studio.booking_versions', people => '{artist_id}', project => 'project_id', starts => 'starts_at', ends => 'ends_at'),
  custody.keeps('studio.phases', project => 'project_id', starts => 'starts_on', ends => 'ends_on'),
  custody.keeps('studio.holidays', starts => 'day', ends => 'day'),
  custody.keeps('studio.time_off', people => '{artist_id}', starts => 'starts_at', ends => 'ends_at'),
  custody.keeps('studio.webhooks'),
  -- That something was told goes on.
  custody.keeps('studio.deliveries', starts => 'created_at', lets => '{version,updated_at,state,attempts,next_at,status}');
GRANT CREATE ON SCHEMA studio TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- What waited while it was held is due again.
CREATE FUNCTION studio.go_on() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM jobs.schedule(NEW.tenant_id, kind, clock_timestamp()) FROM unnest(ARRAY['holds', 'challenges']) kind;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.go_on() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER go_on AFTER UPDATE ON custody.legal_holds FOR EACH ROW EXECUTE FUNCTION studio.go_on();
ALTER TABLE custody.legal_holds ENABLE ALWAYS TRIGGER go_on;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
