-- Wrapped keys come back from their archive, into a cluster that lost them: as they were, and nobody's who was forgotten.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Which keys the sealed values of a studio need: of which person, or nobody, and which number.
CREATE FUNCTION custody.keys_needed(tenant uuid) RETURNS TABLE (person uuid, number smallint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
BEGIN
  FOR s IN SELECT * FROM vault.sealed_columns LOOP
    RETURN QUERY EXECUTE format('SELECT DISTINCT %s, vault.number_of(t.%I) FROM %s t WHERE t.tenant_id = $1 AND t.%I IS NOT NULL',
      CASE WHEN s.of_person THEN 't.id' ELSE 'NULL::uuid' END, s.col, s.rel, s.col) USING tenant;
  END LOOP;
END $$;

-- b1|key|tenant|table|rows, as hexadecimal lines of JSON|expires at|nonce|mac: gives how many are somebody's who was forgotten, how
-- many were put back, and how many have the number of another key that is there now, or need a key-encryption key that is
-- out of use. Where there is one of those the caller puts nothing back: a person's key opens under its own studio's alone.
-- Of a person who has keys only those come back that a value needs: the others were destroyed after a rotation.
CREATE FUNCTION custody.restore_keys(request text) RETURNS TABLE (forgotten bigint, added bigint, others bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'b1', 8);
  studio uuid := custody.expect_restorer(p[3]);
  rows jsonb := (SELECT jsonb_agg(l::jsonb || jsonb_build_object('tenant_id', studio))
    FROM string_to_table(convert_from(decode(p[5], 'hex'), 'UTF8'), chr(10)) l);
BEGIN
  -- Nobody is forgotten meanwhile: their key would come back unseen.
  PERFORM set_config('lock_timeout', '2s', true);
  PERFORM pg_advisory_xact_lock(custody.lock_key(studio));
  forgotten := 0;
  IF p[4] = 'vault.studio_keys' THEN
    INSERT INTO vault.studio_keys (tenant_id, number, wrapping_key, wrapped, made_at)
      SELECT r.tenant_id, r.number, r.wrapping_key, r.wrapped, r.made_at FROM jsonb_populate_recordset(NULL::vault.studio_keys, rows) r
      WHERE NOT EXISTS (SELECT FROM vault.studio_keys k WHERE k.tenant_id = studio);
    GET DIAGNOSTICS added = ROW_COUNT;
    SELECT count(*) INTO others FROM jsonb_populate_recordset(NULL::vault.studio_keys, rows) r
      WHERE NOT EXISTS (SELECT FROM vault.studio_keys k JOIN vault.wrapping_keys w ON w.number = k.wrapping_key AND w.retired_at IS NULL
        WHERE k.tenant_id = studio AND k.number = r.number AND k.wrapped = r.wrapped);
  ELSIF p[4] = 'vault.person_keys' THEN
    SELECT count(*) INTO forgotten FROM jsonb_populate_recordset(NULL::vault.person_keys, rows) r
      WHERE EXISTS (SELECT FROM custody.forgotten f WHERE f.tenant_id = studio AND f.person = r.person);
    INSERT INTO vault.person_keys (tenant_id, person, number, studio_key, wrapped, made_at)
      SELECT r.tenant_id, r.person, r.number, r.studio_key, r.wrapped, r.made_at FROM jsonb_populate_recordset(NULL::vault.person_keys, rows) r
      WHERE NOT EXISTS (SELECT FROM custody.forgotten f WHERE f.tenant_id = studio AND f.person = r.person)
        AND (NOT EXISTS (SELECT FROM vault.person_keys k WHERE k.tenant_id = studio AND k.person = r.person)
          OR (r.person, r.number) IN (SELECT n.person, n.number FROM custody.keys_needed(studio) n))
      ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    SELECT count(*) INTO others FROM jsonb_populate_recordset(NULL::vault.person_keys, rows) r
      JOIN vault.person_keys k ON k.tenant_id = studio AND k.person = r.person AND k.number = r.number WHERE k.wrapped <> r.wrapped;
  ELSE
    RAISE EXCEPTION 'no keys' USING ERRCODE = 'ZT061';
  END IF;
  RETURN NEXT;
END $$;

-- b2|key|tenant|expires at|nonce|mac: how many keys are not there that a value of the studio needs, but for those of people
-- who were forgotten. An archive of before a rotation does not have them.
CREATE FUNCTION custody.keys_missing(question text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'b2', 6);
  studio uuid := custody.expect_restorer(p[3]);
BEGIN
  RETURN (SELECT count(*) FROM (SELECT DISTINCT n.person, n.number FROM custody.keys_needed(studio) n) n
    WHERE NOT EXISTS (SELECT FROM custody.forgotten f WHERE f.tenant_id = studio AND f.person = n.person)
      AND NOT EXISTS (SELECT FROM vault.person_keys k WHERE k.tenant_id = studio AND k.person = n.person AND k.number = n.number)
      AND NOT EXISTS (SELECT FROM vault.studio_keys k WHERE n.person IS NULL AND k.tenant_id = studio AND k.number = n.number));
END $$;
GRANT EXECUTE ON FUNCTION custody.restore_keys(text), custody.keys_missing(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate;
