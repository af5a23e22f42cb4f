-- Whether a member is told by mail of what concerns them: each for themselves, whatever their role.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

ALTER TABLE tenancy.members ADD mails boolean NOT NULL DEFAULT true;
GRANT SELECT (mails) ON tenancy.members TO {app}_app;
GRANT UPDATE (mails) ON tenancy.members TO {app}_gate;
-- The service that writes to members sees them, as the one does that invites them.
ALTER POLICY see ON tenancy.members USING ((SELECT tenancy.role()) IN ('owner', 'manager')
  OR (SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) IN ('people', 'delivery'));

SET LOCAL ROLE {app}_gate;
-- What whoever this transaction is bound to wants; null leaves as it is. Without a session, as one who
-- acts as a member or a feed, nothing is changed.
CREATE FUNCTION tenancy.choose_mails(wanted boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF wanted IS NOT NULL AND tenancy.session() IS NOT NULL THEN
    UPDATE tenancy.members m SET mails = wanted
      WHERE m.tenant_id = tenancy.tenant_id() AND m.id::text = tenancy.actor() AND m.mails <> wanted;
  END IF;
  RETURN (SELECT m.mails FROM tenancy.members m
    WHERE m.tenant_id = tenancy.tenant_id() AND m.id::text = tenancy.actor());
END $$;
GRANT EXECUTE ON FUNCTION tenancy.choose_mails(boolean) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
