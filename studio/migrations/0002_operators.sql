-- What operators may do. Each function writes its entry in the studio's ledger, under the login's name.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;
GRANT USAGE ON SCHEMA studio TO {app}_ops;

SET LOCAL ROLE {app}_gate;
-- A new studio with its first owner and its services. Granted to nobody.
CREATE FUNCTION studio.make_studio(studio_name text, studio_zone text, organization text, owner_subject text)
RETURNS uuid LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant uuid := gen_random_uuid();
  owner uuid := gen_random_uuid();
  lock_keys bigint[] := ARRAY(SELECT ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)
    || substr(replace(gen_random_uuid()::text, '-', ''), 1, 4))::bit(64)::bigint FROM generate_series(1, 2));
BEGIN
  IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = studio_zone) THEN
    RAISE EXCEPTION 'no such time zone' USING ERRCODE = 'ZT030';
  END IF;
  INSERT INTO tenancy.studios (tenant_id, name, zone, organization, lock_key)
    VALUES (tenant, studio_name, studio_zone, make_studio.organization, lock_keys[1]);
  INSERT INTO tenancy.members (tenant_id, id, subject, provider_role, ceiling, state, lock_key)
    VALUES (tenant, owner, owner_subject, 'owner', 'owner', 'active', lock_keys[2]);
  INSERT INTO tenancy.services (tenant_id, name) VALUES (tenant, 'expiry');
  RETURN tenant;
END $$;

-- Makes a studio for an operator; the only way in which one names an owner, and only for a studio that
-- did not exist.
CREATE FUNCTION studio.create_studio(studio_name text, studio_zone text, organization text, owner_subject text)
RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  tenant uuid := studio.make_studio(studio_name, studio_zone, organization, owner_subject);
BEGIN
  PERFORM ledger.note(tenant, 'studio.create', 'studio', ARRAY[tenant]);
  RETURN tenant;
END $$;
GRANT EXECUTE ON FUNCTION studio.create_studio(text, text, text, text) TO {app}_ops;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
