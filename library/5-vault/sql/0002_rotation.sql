-- Renewing keys while the studio works: every value is sealed anew with a key that is current, then the
-- keys that none needs are destroyed. A step is one transaction, so whoever dies in between has done
-- some of them whole and the others not at all.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA vault TO {app}_gate;

-- Which columns hold sealed values; `seals` fills it.
CREATE TABLE vault.sealed_columns (
  place text PRIMARY KEY,
  rel regclass NOT NULL,
  col name NOT NULL,
  -- The row itself is the holder; otherwise the studio is.
  of_person boolean NOT NULL,
  index_col name
);
GRANT SELECT ON vault.sealed_columns TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- The number of the holder's key that a value was sealed with. Of a large value nothing else is read.
CREATE FUNCTION vault.number_of(value bytea) RETURNS smallint LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS
$$ SELECT ((get_byte(substr(value, 2, 2), 0) << 8) | get_byte(substr(value, 2, 2), 1))::smallint $$;

-- A column takes nothing but sealed values whose key is there; it stays there until this transaction
-- has ended. As a foreign key would see to it, which would tie the data to the keys.
CREATE FUNCTION vault.keys_are_there() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  value bytea;
  before bytea;
BEGIN
  FOR i IN 1..TG_NARGS - 1 LOOP
    EXECUTE format('SELECT ($1).%I', TG_ARGV[i]) USING NEW INTO value;
    -- What stays as it is has its key: whoever destroys that one waits for this row.
    IF TG_OP = 'UPDATE' THEN EXECUTE format('SELECT ($1).%I', TG_ARGV[i]) USING OLD INTO before; END IF;
    CONTINUE WHEN value IS NULL OR value IS NOT DISTINCT FROM before;
    IF length(value) < 31 OR get_byte(value, 0) <> 2 THEN
      RAISE EXCEPTION 'a value that is not sealed' USING ERRCODE = 'ZT041';
    END IF;
    IF TG_ARGV[0] = 'person' THEN
      PERFORM FROM vault.person_keys k
        WHERE k.tenant_id = NEW.tenant_id AND k.person = NEW.id AND k.number = vault.number_of(value) FOR KEY SHARE;
    ELSE
      PERFORM FROM vault.studio_keys k
        WHERE k.tenant_id = NEW.tenant_id AND k.number = vault.number_of(value) FOR KEY SHARE;
    END IF;
    -- It was renewed since this transaction fetched it: the same request, tried again, gets the new one.
    IF NOT FOUND THEN RAISE EXCEPTION 'a key that is no more' USING ERRCODE = '40001'; END IF;
  END LOOP;
  RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION vault.keys_are_there() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
-- What a migration calls for a table with sealed columns. `holder` is `person` where the row is the
-- person whose keys they need, else `studio`; `index_column` goes with the first of the columns.
CREATE FUNCTION vault.seals(rel regclass, holder text, columns name[], index_column name DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  list text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns || index_column) c WHERE c IS NOT NULL);
BEGIN
  INSERT INTO vault.sealed_columns (place, rel, col, of_person, index_col)
    SELECT rel::text || '.' || c, rel, c, holder = 'person', CASE WHEN n = 1 THEN index_column END
    FROM unnest(columns) WITH ORDINALITY u(c, n);
  EXECUTE format('GRANT SELECT (tenant_id, id, %s), UPDATE (%s) ON %s TO {app}_gate', list, list, rel);
  EXECUTE format('CREATE POLICY vault_see ON %s FOR SELECT TO {app}_gate USING (tenant_id = (SELECT tenancy.tenant_id()))', rel);
  EXECUTE format('CREATE POLICY vault_change ON %s FOR UPDATE TO {app}_gate
    USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', rel);
  EXECUTE format('CREATE TRIGGER keys_are_there BEFORE INSERT OR UPDATE OF %s ON %s FOR EACH ROW
    EXECUTE FUNCTION vault.keys_are_there(%L, %s)',
    (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c), rel, holder,
    (SELECT string_agg(quote_literal(c), ', ') FROM unnest(columns) c));
END $$;
SELECT vault.seals('tenancy.members', 'person', '{email}', 'email_index');
SELECT vault.seals('tenancy.answers', 'studio', '{sealed}');

SET LOCAL ROLE {app}_gate;
-- w3|key|wrapping key|expires at|nonce|mac: the studios with a key that another one wraps, or that a newer one replaced.
CREATE FUNCTION vault.outdated_studios(question text) RETURNS TABLE (tenant uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'w3', 6);
BEGIN
  RETURN QUERY SELECT k.tenant_id FROM vault.studio_keys k GROUP BY k.tenant_id
    HAVING bool_or(k.wrapping_key <> p[3]::smallint) OR count(*) > 1 ORDER BY 1;
END $$;

-- w4|key|wrapping key|expires at|nonce|mac: no database needs that key-encryption key any more, if it is
-- so. Gives how many keys it still wraps.
CREATE FUNCTION vault.retire_wrapping_key(request text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'w4', 6);
  needed bigint;
BEGIN
  -- Whoever makes a key with it holds this row; a later statement sees what they made.
  PERFORM FROM vault.wrapping_keys w WHERE w.number = p[3]::smallint AND w.retired_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN RETURN -1; END IF;
  SELECT count(*) INTO needed FROM vault.studio_keys k WHERE k.wrapping_key = p[3]::smallint;
  IF needed = 0 THEN
    UPDATE vault.wrapping_keys w SET retired_at = clock_timestamp() WHERE w.number = p[3]::smallint;
  END IF;
  RETURN needed;
END $$;

-- v1|key|tenant|most|expires at|nonce|mac: whose keys are wrapped by an old key of the studio's, some of
-- them, and how many they are in all.
CREATE FUNCTION vault.outdated_people(question text) RETURNS TABLE (person uuid, in_all bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'v1', 7);
  tenant uuid := vault.bound(p[3]);
  newest smallint := (SELECT max(k.number) FROM vault.studio_keys k WHERE k.tenant_id = tenant);
BEGIN
  RETURN QUERY SELECT o.person, count(*) OVER () FROM (SELECT DISTINCT k.person FROM vault.person_keys k
    WHERE k.tenant_id = tenant AND k.studio_key <> newest) o ORDER BY 1 LIMIT p[4]::integer;
END $$;

-- v2|key|tenant|person or nothing|expires at|nonce|mac: the values of a person, or some of the studio's
-- own that were not sealed with its newest key. Their rows are locked.
CREATE FUNCTION vault.values_of(question text) RETURNS TABLE (place text, id uuid, sealed bytea, is_indexed boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'v2', 7);
  tenant uuid := vault.bound(p[3]);
  newest smallint := (SELECT max(k.number) FROM vault.studio_keys k WHERE k.tenant_id = tenant);
  c record;
BEGIN
  FOR c IN SELECT * FROM vault.sealed_columns s WHERE s.of_person = (p[4] <> '') ORDER BY s.place LOOP
    RETURN QUERY EXECUTE format('SELECT %L::text, t.id, t.%I, %L::boolean FROM %s t WHERE t.tenant_id = $1 AND t.%I IS NOT NULL
      AND CASE WHEN $2 = '''' THEN vault.number_of(t.%I) <> $3 ELSE t.id = nullif($2, '''')::uuid END LIMIT 20 FOR NO KEY UPDATE',
      c.place, c.col, c.index_col IS NOT NULL, c.rel, c.col, c.col) USING tenant, p[4], newest;
  END LOOP;
END $$;

-- v3|key|tenant|place|row|sealed|index or nothing|expires at|nonce|mac: a value, sealed anew.
CREATE FUNCTION vault.renew_value(fact text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'v3', 10);
  tenant uuid := vault.bound(p[3]);
  c record;
BEGIN
  SELECT * INTO STRICT c FROM vault.sealed_columns s WHERE s.place = p[4];
  EXECUTE format('UPDATE %s SET %I = $3%s WHERE tenant_id = $1 AND id = $2', c.rel, c.col,
    CASE WHEN p[7] <> '' THEN format(', %I = $4', c.index_col) END)
    USING tenant, p[5]::uuid, decode(p[6], 'hex'), decode(p[7], 'hex');
END $$;

-- v4|key|tenant|person or nothing|expires at|nonce|mac: destroys the keys of a person, or of the studio,
-- that are not the newest and that no value and no other key needs. Gives how many.
CREATE FUNCTION vault.destroy_old_keys(request text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'v4', 7);
  tenant uuid := vault.bound(p[3]);
  holder uuid := nullif(p[4], '')::uuid;
  old smallint;
  is_needed boolean;
  destroyed integer := 0;
  c record;
BEGIN
  FOR old IN SELECT k.number FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = holder
      AND k.number < (SELECT max(n.number) FROM vault.person_keys n WHERE n.tenant_id = tenant AND n.person = holder)
    UNION ALL SELECT k.number FROM vault.studio_keys k WHERE holder IS NULL AND k.tenant_id = tenant
      AND k.number < (SELECT max(n.number) FROM vault.studio_keys n WHERE n.tenant_id = tenant)
  LOOP
    -- Waits for whoever seals with it right now; later statements see what they sealed.
    IF holder IS NULL THEN
      PERFORM FROM vault.studio_keys k WHERE k.tenant_id = tenant AND k.number = old FOR UPDATE;
      is_needed := EXISTS (SELECT FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.studio_key = old);
    ELSE
      PERFORM FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = holder AND k.number = old FOR UPDATE;
      is_needed := false;
    END IF;
    FOR c IN SELECT * FROM vault.sealed_columns s WHERE s.of_person = (holder IS NOT NULL) LOOP
      EXECUTE format('SELECT $4 OR EXISTS (SELECT FROM %s t WHERE t.tenant_id = $1 AND ($2 IS NULL OR t.id = $2)
        AND vault.number_of(t.%I) = $3)', c.rel, c.col) USING tenant, holder, old, is_needed INTO is_needed;
    END LOOP;
    CONTINUE WHEN is_needed;
    IF holder IS NULL THEN
      DELETE FROM vault.studio_keys k WHERE k.tenant_id = tenant AND k.number = old;
    ELSE
      DELETE FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = holder AND k.number = old;
    END IF;
    destroyed := destroyed + 1;
  END LOOP;
  RETURN destroyed;
END $$;
GRANT EXECUTE ON FUNCTION vault.outdated_studios(text), vault.retire_wrapping_key(text), vault.outdated_people(text),
  vault.values_of(text), vault.renew_value(text), vault.destroy_old_keys(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA vault FROM {app}_gate;
