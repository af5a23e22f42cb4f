-- A studio that Clerk brought, where the configuration lets it: o1|key|organization|owner|name|admission|
-- expires at|nonce|mac, the name in hexadecimal digits. Only an organization that no studio has becomes one: the
-- first owner of a new studio is the only one whom an event admits. Gives whether it became one.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION studio.open_studio(event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'o1', 9);
  tenant uuid;
BEGIN
  IF EXISTS (SELECT FROM tenancy.studios s WHERE s.organization = p[3]) THEN RETURN false; END IF;
  tenant := studio.make_studio(convert_from(decode(p[5], 'hex'), 'UTF8'), 'UTC', p[3], p[4], p[6]);
  PERFORM ledger.note_service(tenant, 'clerk', NULL, 'studio.create', 'studio', ARRAY[tenant]);
  RETURN true;
EXCEPTION WHEN unique_violation THEN
  RETURN false;
END $$;
GRANT EXECUTE ON FUNCTION studio.open_studio(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
