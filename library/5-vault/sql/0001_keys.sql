-- Data keys, wrapped: a studio's by a key-encryption key that no database has, a person's by the
-- studio's. In a schema of its own, and no table of data refers to it, so that a backup of the data can
-- leave it out. Rows are added by what the server signed; the app role itself writes none.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA vault;
GRANT USAGE ON SCHEMA vault TO {app}_app, {app}_gate, {app}_digest;
GRANT CREATE ON SCHEMA vault TO {app}_gate;

CREATE TABLE vault.studio_keys (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  number smallint NOT NULL CHECK (number > 0),
  -- Which key-encryption key wraps it.
  wrapping_key smallint NOT NULL,
  wrapped bytea NOT NULL CHECK (length(wrapped) BETWEEN 48 AND 8192),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, number)
);

CREATE TABLE vault.person_keys (
  tenant_id uuid NOT NULL,
  -- The row that is the person: an artist, a member.
  person uuid NOT NULL,
  number smallint NOT NULL CHECK (number > 0),
  -- Which of the studio's keys wraps it.
  studio_key smallint NOT NULL,
  wrapped bytea NOT NULL CHECK (length(wrapped) BETWEEN 48 AND 200),
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, person, number),
  -- A studio's key is not destroyed while a person's needs it.
  FOREIGN KEY (tenant_id, studio_key) REFERENCES vault.studio_keys
);
CREATE INDEX person_keys_by_studio_key ON vault.person_keys (tenant_id, studio_key);

DO $walls$
DECLARE
  rel regclass;
BEGIN
  FOREACH rel IN ARRAY ARRAY['vault.studio_keys', 'vault.person_keys']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', rel);
    EXECUTE format('CREATE POLICY wall ON %s AS RESTRICTIVE TO {app}_app
      USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', rel);
    -- Whoever has a context may fetch the studio's keys: without the key-encryption key they open nothing.
    EXECUTE format('CREATE POLICY see ON %s FOR SELECT TO {app}_app USING (tenant_id = (SELECT tenancy.tenant_id()))', rel);
    EXECUTE format('CREATE POLICY gate ON %s TO {app}_gate
      USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', rel);
    EXECUTE format('CREATE POLICY digest ON %s FOR SELECT TO {app}_digest USING (true)', rel);
    EXECUTE format('ALTER TABLE %s ALTER wrapped SET STATISTICS 0', rel);
    EXECUTE format('GRANT SELECT ON %s TO {app}_app, {app}_gate, {app}_digest', rel);
    -- UPDATE for the right to lock a row; nothing changes one.
    EXECUTE format('GRANT INSERT, DELETE, UPDATE (made_at) ON %s TO {app}_gate', rel);
  END LOOP;
END $walls$;
-- Which studios need a key-encryption key is asked before any studio is known.
CREATE POLICY gate_see ON vault.studio_keys FOR SELECT TO {app}_gate USING (true);

SET LOCAL ROLE {app}_gate;
-- What a known value looks like under each key-encryption key: by it a server sees that it was given the
-- right ones. Owned by the gate and granted to nobody.
CREATE TABLE vault.wrapping_keys (
  number smallint PRIMARY KEY,
  checked bytea NOT NULL CHECK (length(checked) BETWEEN 48 AND 8192),
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Nothing needs it any more, and it is not used again.
  retired_at timestamptz
);

-- The studio that a signed text is about, if it is the one whose context is bound.
CREATE FUNCTION vault.bound(tenant text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() THEN
    RAISE EXCEPTION 'another studio' USING ERRCODE = 'ZT018';
  END IF;
  RETURN tenant::uuid;
END $$;

-- w1|key|expires at|nonce|mac: the key-encryption keys that are in use.
CREATE FUNCTION vault.wrapping_keys_known(question text) RETURNS TABLE (number smallint, checked bytea, is_retired boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'w1', 5);
BEGIN
  RETURN QUERY SELECT w.number, w.checked, w.retired_at IS NOT NULL FROM vault.wrapping_keys w ORDER BY w.number;
END $$;

-- w2|key|number|checked|expires at|nonce|mac: notes a key-encryption key before it is first used.
CREATE FUNCTION vault.note_wrapping_key(fact text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'w2', 7);
BEGIN
  INSERT INTO vault.wrapping_keys (number, checked) VALUES (p[3]::smallint, decode(p[4], 'hex')) ON CONFLICT DO NOTHING;
END $$;

-- k1|key|tenant|number|wrapping key|wrapped|expires at|nonce|mac: a new key of the studio whose context
-- is bound. Of two at one time the first stays, and is given to both.
CREATE FUNCTION vault.keep_studio_key(fact text) RETURNS TABLE (wrapped_by smallint, wrapped bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'k1', 9);
BEGIN
  -- It is held until this transaction has ended, so that it is not retired meanwhile. One that was: the
  -- same request, tried again, wraps with the current one.
  PERFORM FROM vault.wrapping_keys w WHERE w.number = p[5]::smallint AND w.retired_at IS NULL FOR KEY SHARE;
  IF NOT FOUND THEN RAISE EXCEPTION 'a key-encryption key that is not in use' USING ERRCODE = '40001'; END IF;
  INSERT INTO vault.studio_keys (tenant_id, number, wrapping_key, wrapped)
    VALUES (vault.bound(p[3]), p[4]::smallint, p[5]::smallint, decode(p[6], 'hex')) ON CONFLICT DO NOTHING;
  RETURN QUERY SELECT k.wrapping_key, k.wrapped FROM vault.studio_keys k
    WHERE k.tenant_id = p[3]::uuid AND k.number = p[4]::smallint;
END $$;

-- k2|key|tenant|person|number|studio's key|wrapped|expires at|nonce|mac: the same for a person of it.
CREATE FUNCTION vault.keep_person_key(fact text) RETURNS TABLE (wrapped_by smallint, wrapped bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'k2', 10);
BEGIN
  INSERT INTO vault.person_keys (tenant_id, person, number, studio_key, wrapped)
    VALUES (vault.bound(p[3]), p[4]::uuid, p[5]::smallint, p[6]::smallint, decode(p[7], 'hex')) ON CONFLICT DO NOTHING;
  RETURN QUERY SELECT k.studio_key, k.wrapped FROM vault.person_keys k
    WHERE k.tenant_id = p[3]::uuid AND k.person = p[4]::uuid AND k.number = p[5]::smallint;
END $$;
GRANT EXECUTE ON FUNCTION vault.wrapping_keys_known(text), vault.note_wrapping_key(text), vault.keep_studio_key(text),
  vault.keep_person_key(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA vault FROM {app}_gate;
