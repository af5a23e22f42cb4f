-- What was done to studios outside the API is in their ledgers: migrations, freezing and thawing, and
-- what custody does to all of them at once. Triggers do it, so that no function can forget it.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger, {app}_gate;

SET LOCAL ROLE {app}_ledger;
-- An entry about what an operator did, with what made it so and what the transaction has changed.
CREATE FUNCTION ledger.note_because(tenant uuid, cause text, action text, resource text, ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM ledger.write_own(tenant, jsonb_build_object(
    'actor', 'operator:' || session_user, 'role', 'operator', 'client_request_id', cause,
    'action', action, 'resource', resource, 'ids', to_jsonb(ids), 'ids_count', cardinality(ids),
    'outcome', 'allowed', 'status', 200), ledger.take_changes(tenant));
END $$;
GRANT EXECUTE ON FUNCTION ledger.note_because(uuid, text, text, text, uuid[]) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- The same in every studio: a migration, a backup or restore of the cluster, a drill.
CREATE FUNCTION ledger.note_everywhere(cause text, action text, resource text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  studio uuid;
BEGIN
  FOR studio IN SELECT s.tenant_id FROM tenancy.studios s LOOP
    PERFORM ledger.note_because(studio, cause, action, resource, '{}');
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION ledger.note_everywhere(text, text, text) TO {app}_owner;

-- A migration is noted by its line in the register, in its own transaction.
CREATE FUNCTION ledger.note_migration() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM ledger.note_everywhere(NEW.name, 'database.migrate', 'database');
  RETURN NULL;
END $$;

-- A studio's status, wherever it was changed from. What the identity provider tells has its entry from
-- there. The brake does not wait for the ledger: what the mark could not note, the drain will.
CREATE FUNCTION ledger.note_status() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  cause text := OLD.status || ' to ' || NEW.status;
  patience text := current_setting('lock_timeout');
BEGIN
  IF session_user = '{app}_app' THEN RETURN NULL; END IF;
  IF NEW.status = 'freezing' THEN
    BEGIN
      PERFORM set_config('lock_timeout', '200', true);
      PERFORM ledger.note_because(NEW.tenant_id, cause, 'studio.freeze', 'studio', ARRAY[NEW.tenant_id]);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'the ledger cannot note the freeze: %', SQLERRM;
    END;
    PERFORM set_config('lock_timeout', patience, true);
    RETURN NULL;
  END IF;
  -- The drain had little patience with whoever held the studio; for this it has all.
  PERFORM set_config('lock_timeout', '0', true);
  PERFORM ledger.note_because(NEW.tenant_id, cause, CASE
      WHEN NEW.status = 'frozen' THEN 'studio.drain'
      WHEN OLD.status IN ('freezing', 'frozen') THEN 'studio.thaw'
      ELSE 'studio.change'
    END, 'studio', ARRAY[NEW.tenant_id]);
  PERFORM set_config('lock_timeout', patience, true);
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION ledger.note_migration(), ledger.note_status() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger, {app}_gate;
CREATE TRIGGER noted AFTER INSERT ON install.migrations FOR EACH ROW EXECUTE FUNCTION ledger.note_migration();
ALTER TABLE install.migrations ENABLE ALWAYS TRIGGER noted;
CREATE TRIGGER noted AFTER UPDATE OF status ON tenancy.studios FOR EACH ROW EXECUTE FUNCTION ledger.note_status();
ALTER TABLE tenancy.studios ENABLE ALWAYS TRIGGER noted;

-- Members are changed by owners, and by the gate as the identity provider tells, which notes that itself.
-- Who executes the statement decides: nothing that a statement does to its context can change that.
CREATE TRIGGER ledger_capture AFTER INSERT OR UPDATE OR DELETE ON tenancy.members FOR EACH ROW
  WHEN (current_user <> '{app}_gate') EXECUTE FUNCTION ledger.capture('id');
ALTER TABLE tenancy.members ENABLE ALWAYS TRIGGER ledger_capture;
