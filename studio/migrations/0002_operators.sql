-- What operators may do. Each function writes its entry in the studio's ledger, under the login's name.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;
GRANT USAGE ON SCHEMA studio TO {app}_ops;

-- What a studio decided for itself. A value that is null: the product's default.
CREATE TABLE studio.settings (
  tenant_id uuid PRIMARY KEY REFERENCES tenancy.studios,
  id uuid NOT NULL CHECK (id = tenant_id),
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  hold_minutes integer CHECK (hold_minutes BETWEEN 1 AND 10080),
  challenge_hours integer CHECK (challenge_hours BETWEEN 1 AND 720),
  am_from time,
  am_to time,
  pm_from time,
  pm_to time,
  -- {"mon": [{"from": "09:00", "to": "18:00"}], …}; null: around the clock.
  working_hours jsonb CHECK (jsonb_typeof(working_hours) = 'object'),
  CONSTRAINT settings_half_days CHECK (num_nulls(am_from, am_to, pm_from, pm_to) = 4
    OR num_nulls(am_from, am_to, pm_from, pm_to) = 0 AND am_from < am_to AND am_to <= pm_from AND pm_from < pm_to)
);
SELECT tenancy.protect('studio.settings');
-- Managers see them, owners change them, and the row is made with the studio.
CREATE POLICY owners ON studio.settings AS RESTRICTIVE FOR UPDATE TO {app}_app USING ((SELECT tenancy.role()) = 'owner');
CREATE POLICY made ON studio.settings FOR INSERT TO {app}_gate WITH CHECK (true);
GRANT SELECT, UPDATE (version, updated_at, hold_minutes, challenge_hours, am_from, am_to, pm_from, pm_to, working_hours)
  ON studio.settings TO {app}_app;
GRANT INSERT (tenant_id, id) ON studio.settings TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- A new studio with its first owner, its settings and its services. Granted to nobody.
CREATE FUNCTION studio.make_studio(studio_name text, studio_zone text, organization text, owner_subject text, admission text)
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
  INSERT INTO tenancy.studios (tenant_id, name, zone, organization, admission, lock_key)
    VALUES (tenant, studio_name, studio_zone, make_studio.organization, make_studio.admission, lock_keys[1]);
  INSERT INTO tenancy.members (tenant_id, id, subject, provider_role, ceiling, state, lock_key)
    VALUES (tenant, owner, owner_subject, 'owner', 'owner', 'active', lock_keys[2]);
  INSERT INTO studio.settings (tenant_id, id) VALUES (tenant, tenant);
  INSERT INTO tenancy.services (tenant_id, name)
    VALUES (tenant, 'expiry'), (tenant, 'delivery'), (tenant, 'people'), (tenant, 'vault'), (tenant, 'evidence');
  RETURN tenant;
END $$;

-- Makes a studio for an operator; the only way in which one names an owner, and only for a studio that
-- did not exist.
CREATE FUNCTION studio.create_studio(studio_name text, studio_zone text, organization text, owner_subject text,
  admission text DEFAULT 'owner')
RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  tenant uuid := studio.make_studio(studio_name, studio_zone, organization, owner_subject, admission);
BEGIN
  PERFORM ledger.note(tenant, 'studio.create', 'studio', ARRAY[tenant]);
  RETURN tenant;
END $$;
GRANT EXECUTE ON FUNCTION studio.create_studio(text, text, text, text, text) TO {app}_ops;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
