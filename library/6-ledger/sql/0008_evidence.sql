-- The studio's service `evidence` reads the log, as its owners do: what happened in an incident is gathered for them.

SET LOCAL ROLE {app}_owner;
DO $evidence$
DECLARE
  log_table text;
BEGIN
  FOREACH log_table IN ARRAY ARRAY['entries', 'leaves', 'nodes', 'checkpoints', 'removals'] LOOP
    EXECUTE format('CREATE POLICY evidence ON ledger.%I FOR SELECT TO {app}_app
      USING ((SELECT tenancy.role()) = ''service'' AND (SELECT tenancy.actor()) = ''evidence'')', log_table);
  END LOOP;
END $evidence$;
