-- Archives: every row of a studio as the studio's service `custody` reads it, and its way back. Both are bound by the
-- same wall as everything else; a way back is one transaction, in which nobody else is in the studio.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;

-- What goes into an archive, in this order; `archives` fills it.
CREATE TABLE custody.archived (
  rel regclass PRIMARY KEY,
  step integer NOT NULL UNIQUE,
  -- A restore brings its rows back. What it leaves as it is: who may come in, what is told outward.
  is_restored boolean NOT NULL,
  -- Wrapped keys go into an archive of their own.
  is_key boolean NOT NULL,
  -- Columns with the id of a person: what is about somebody who was forgotten is not brought back.
  people name[] NOT NULL
);
-- What refers to restored rows and is not restored itself: what becomes of it where those are gone.
CREATE TABLE custody.follows (
  reference name NOT NULL,
  rel regclass NOT NULL,
  refers regclass NOT NULL,
  columns name[] NOT NULL,
  keys name[] NOT NULL,
  -- It goes too; otherwise it stays and refers to nothing.
  is_removed boolean NOT NULL,
  PRIMARY KEY (rel, reference)
);
GRANT SELECT ON custody.archived, custody.follows TO {app}_custody, {app}_gate;

GRANT SELECT ON vault.sealed_columns TO {app}_custody;

SET LOCAL ROLE {app}_gate;
GRANT EXECUTE ON FUNCTION vault.number_of(bytea), custody.has_holds(uuid) TO {app}_custody;

CREATE FUNCTION custody.forget() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  about jsonb := CASE TG_OP WHEN 'INSERT' THEN to_jsonb(NEW) ELSE to_jsonb(OLD) END;
  tenant uuid := about ->> 'tenant_id';
  gone uuid := about ->> TG_ARGV[0];
BEGIN
  -- After a rotation the newer key is there.
  IF TG_OP = 'DELETE' AND EXISTS (SELECT FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = gone) THEN
    RETURN NULL;
  END IF;
  -- Whoever was forgotten before is forgotten again: what was noted of them since goes, too (`forget_exports`).
  INSERT INTO custody.forgotten AS f (tenant_id, person, is_erased) VALUES (tenant, gone, false)
    ON CONFLICT ON CONSTRAINT forgotten_pkey DO UPDATE SET is_erased = f.is_erased;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION custody.forget() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER forget AFTER DELETE ON vault.person_keys FOR EACH ROW EXECUTE FUNCTION custody.forget('person');
ALTER TABLE vault.person_keys ENABLE ALWAYS TRIGGER forget;

-- What a migration calls for a table that goes into archives.
--   people   columns with the id of a person; `id` where the row is one
--   blanked  of a row that is a person: a column that is set when it is anonymised
CREATE FUNCTION custody.archives(rel regclass, step integer, is_restored boolean DEFAULT true, people name[] DEFAULT '{}',
  blanked name DEFAULT NULL, is_key boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO custody.archived VALUES (archives.rel, archives.step, archives.is_restored, archives.is_key, archives.people);
  PERFORM custody.entrust(rel);
  IF is_restored THEN EXECUTE format('GRANT INSERT ON %s TO {app}_custody', rel); END IF;
  IF blanked IS NOT NULL THEN
    EXECUTE format('CREATE TRIGGER forget AFTER UPDATE OF %I ON %s FOR EACH ROW
      WHEN (current_user = ''{app}_custody'') EXECUTE FUNCTION custody.forget(''id'')', blanked, rel);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER forget', rel);
  END IF;
END $$;

-- What a migration calls, after all its `archives`, for a foreign key on restored rows from what is not restored.
CREATE FUNCTION custody.follow(rel regclass, reference name, is_removed boolean)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  k record;
BEGIN
  SELECT c.confrelid::regclass AS refers,
    ARRAY(SELECT a.attname FROM unnest(c.conkey) WITH ORDINALITY u(n, i) JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.n ORDER BY i) AS columns,
    ARRAY(SELECT a.attname FROM unnest(c.confkey) WITH ORDINALITY u(n, i) JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = u.n ORDER BY i) AS keys
    INTO STRICT k FROM pg_constraint c WHERE c.conrelid = rel AND c.conname = reference AND c.contype = 'f';
  INSERT INTO custody.follows VALUES (follow.reference, follow.rel, k.refers, k.columns, k.keys, follow.is_removed);
  IF NOT is_removed THEN
    EXECUTE format('GRANT UPDATE (%s) ON %s TO {app}_custody',
      (SELECT string_agg(quote_ident(c), ', ') FROM unnest(k.columns) c WHERE c <> 'tenant_id'), rel);
  END IF;
END $$;

-- Lets the foreign keys on restored tables be checked at the end: a restore removes and brings back in one
-- transaction, and what refers to a row meanwhile refers to it again at its end.
CREATE FUNCTION custody.check_late() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT k.conrelid::regclass AS rel, k.conname FROM pg_constraint k JOIN custody.archived a ON a.rel = k.confrelid
    WHERE k.contype = 'f' AND a.is_restored AND NOT k.condeferrable
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY IMMEDIATE', c.rel, c.conname);
  END LOOP;
END $$;

SELECT custody.archives('vault.studio_keys', 900, is_restored => false, is_key => true),
  custody.archives('vault.person_keys', 910, is_restored => false, is_key => true, people => '{person}');

SET LOCAL ROLE {app}_custody;
-- The columns that an archive has: not what the database makes itself, nor numbers of its own transactions.
CREATE FUNCTION custody.columns_of(rel regclass) RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.atttypid <> 'xid8'::regtype
$$;

-- The columns by which a studio's rows of a table are told apart.
CREATE FUNCTION custody.key_of(rel regclass) RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(a.attname ORDER BY u.i), '{}') FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY u(n, i)
    JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = u.n
    WHERE c.conrelid = rel AND c.contype = 'p' AND a.attname <> 'tenant_id'
$$;

-- `a.x, a.y` of columns.
CREATE FUNCTION custody.listed(alias text, columns name[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT string_agg(alias || quote_ident(c), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY u(c, n)
$$;

-- Whether one of these columns of a row `t` is among some ids, `ids` being where those stand; true of no columns.
CREATE FUNCTION custody.names_any(columns name[], ids text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce('(' || string_agg(format('t.%I = ANY (%s)', c, ids), ' OR ') || ')', 'true') FROM unnest(columns) c
$$;

-- Some rows of a table as JSON, by their keys, after that one; and each one's key. Where columns are said, the rows that
-- name some people in them.
CREATE FUNCTION custody.page(tenant uuid, rel regclass, after jsonb, most integer, about name[] DEFAULT '{}', people uuid[] DEFAULT '{}')
RETURNS TABLE (line text, place text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on
SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'iso_8601' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
  key name[] := custody.key_of(rel);
  columns name[] := custody.columns_of(rel);
  last text;
BEGIN
  SELECT string_agg(format('($2 ->> %L)::%s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY array_position(key, a.attname))
    INTO last FROM pg_attribute a WHERE a.attrelid = rel AND a.attname = ANY (key);
  RETURN QUERY EXECUTE format('SELECT to_jsonb(c)::text, (SELECT to_jsonb(k) FROM (SELECT %s) k)::text
    FROM %s t, LATERAL (SELECT %s) c WHERE t.tenant_id = $1 AND %s%s ORDER BY %s LIMIT $3',
    coalesce(custody.listed('t.', key), 't.tenant_id'), rel, custody.listed('t.', columns), custody.names_any(about, '$4'),
    CASE WHEN after IS NOT NULL THEN format(' AND (%s) > (%s)', custody.listed('t.', key), last) END,
    coalesce(custody.listed('t.', key), 't.tenant_id')) USING tenant, after, most, people;
END $$;

-- A temporary table for what comes back of each table. What the archive does not know gets its default.
CREATE FUNCTION custody.make_room(tables jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  a record;
  columns name[];
BEGIN
  FOR a IN SELECT r.*, tables -> r.rel::text AS given FROM custody.archived r WHERE r.is_restored ORDER BY r.step LOOP
    columns := ARRAY(SELECT c FROM unnest(custody.columns_of(a.rel)) c WHERE a.given ? c::text);
    IF a.given IS NULL OR cardinality(columns) <> jsonb_array_length(a.given) OR NOT columns @> ('tenant_id'::name || custody.key_of(a.rel)) THEN
      RAISE EXCEPTION 'another schema: %', a.rel USING ERRCODE = 'ZT061', CONSTRAINT = 'archive_schema';
    END IF;
    EXECUTE format('CREATE TEMPORARY TABLE coming_%s ON COMMIT DROP AS SELECT %s FROM %s WHERE false',
      a.step, custody.listed('', columns), a.rel);
  END LOOP;
END $$;

-- Takes rows that come back, one a line. They are of the bound studio, whatever they say.
CREATE FUNCTION custody.take_rows(tenant uuid, rel regclass, lines text, is_foreign boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on SET timezone = 'UTC' AS $$
DECLARE
  coming text := (SELECT format('pg_temp.coming_%s', a.step) FROM custody.archived a WHERE a.rel = take_rows.rel AND a.is_restored);
  said jsonb := jsonb_build_object('tenant_id', tenant);
  taken bigint;
BEGIN
  -- What another studio's keys sealed opens nowhere else.
  IF is_foreign THEN
    said := said || (SELECT coalesce(jsonb_object_agg(s.col, NULL), '{}') FROM vault.sealed_columns s WHERE s.rel = take_rows.rel);
  END IF;
  -- A row that is the studio itself is the bound one's, too.
  EXECUTE format('INSERT INTO %s SELECT r.* FROM string_to_table($1, chr(10)) l, jsonb_populate_record(NULL::%s, l::jsonb || $2
      || CASE WHEN l::jsonb ->> ''id'' = l::jsonb ->> ''tenant_id'' THEN jsonb_build_object(''id'', $3) ELSE ''{}'' END) r',
    coming, coming) USING lines, said, tenant;
  GET DIAGNOSTICS taken = ROW_COUNT;
  RETURN taken;
END $$;

-- Whether a row, by that alias, is about somebody who was forgotten: in the studio `$1`, or as one of `$2`, where the
-- archive is from.
CREATE FUNCTION custody.about_forgotten(alias text, people name[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN cardinality(people) = 0 THEN 'false' ELSE format('EXISTS (SELECT FROM (SELECT g.person FROM custody.forgotten g
    WHERE g.tenant_id = $1 UNION ALL SELECT unnest($2)) f WHERE f.person IN (%s))', custody.listed(alias, people)) END
$$;

-- When the foreign keys on restored rows are checked. Those alone: the ledger's own trigger is late, too, and waits for the
-- entry.
CREATE FUNCTION custody.check_references(moment text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('SET CONSTRAINTS %s %s', (SELECT string_agg(DISTINCT format('%I.%I', n.nspname, k.conname), ', ')
    FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace JOIN custody.archived a ON a.rel = k.confrelid
    WHERE k.contype = 'f' AND a.is_restored AND k.condeferrable), moment);
END $$;

-- What came sealed with a key that is no more is replaced by what the same row has now, if it is there. Gives how many
-- values that are.
CREATE FUNCTION custody.keep_readable(tenant uuid, which regclass, coming text, same text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
  one bigint;
  unreadable bigint := 0;
  sealed text;
BEGIN
  FOR s IN SELECT * FROM vault.sealed_columns v WHERE v.rel = which LOOP
    -- With the value what it is found again by.
    sealed := concat_ws(', ', quote_ident(s.col), quote_ident(s.index_col));
    EXECUTE format('UPDATE %s c SET (%s) = (SELECT %s FROM %s t WHERE %s) WHERE c.%I IS NOT NULL
      AND NOT EXISTS (SELECT FROM %s k WHERE k.tenant_id = $1 AND k.number = vault.number_of(c.%I)%s)', coming, sealed,
      concat_ws(', ', 't.' || quote_ident(s.col), 't.' || quote_ident(s.index_col)), which, same, s.col,
      CASE WHEN s.of_person THEN 'vault.person_keys' ELSE 'vault.studio_keys' END, s.col,
      CASE WHEN s.of_person THEN ' AND k.person = c.id' END) USING tenant;
    GET DIAGNOSTICS one = ROW_COUNT;
    unreadable := unreadable + one;
  END LOOP;
  RETURN unreadable;
END $$;

-- Compares what came with what is there, and where `is_run` makes what is there what came. By table: how many rows
-- came, how many of them are not brought back because somebody was forgotten, and how many are removed, changed and
-- added; how many values came sealed with keys that are no more: what is there now stays in their place.
CREATE FUNCTION custody.settle(tenant uuid, is_run boolean, away uuid[])
RETURNS TABLE (rel text, came bigint, forgotten bigint, removed bigint, changed bigint, added bigint, unreadable bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_variable
DECLARE
  a record;
  columns name[];
  same text;
  gone text;
BEGIN
  IF is_run THEN PERFORM custody.check_references('DEFERRED'); END IF;
  FOR a IN SELECT r.*, format('pg_temp.coming_%s', r.step) AS coming FROM custody.archived r WHERE r.is_restored ORDER BY r.step LOOP
    rel := a.rel::text;
    EXECUTE format('SELECT count(*) FROM %s', a.coming) INTO came;
    EXECUTE format('DELETE FROM %s c WHERE %s', a.coming, custody.about_forgotten('c.', a.people)) USING tenant, away;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    columns := ARRAY(SELECT t.attname FROM pg_attribute t WHERE t.attrelid = to_regclass(a.coming) AND t.attnum > 0);
    EXECUTE format('CREATE UNIQUE INDEX ON %s (%s)', a.coming, custody.listed('', 'tenant_id'::name || custody.key_of(a.rel)));
    EXECUTE format('ANALYZE %s', a.coming);
    same := (SELECT string_agg(format('c.%1$I = t.%1$I', k), ' AND ') FROM unnest('tenant_id'::name || custody.key_of(a.rel)) k);
    unreadable := custody.keep_readable(tenant, a.rel, a.coming, same);
    gone := format('t.tenant_id = $1 AND NOT %s AND NOT EXISTS (SELECT FROM %s c WHERE %s AND (%s) IS NOT DISTINCT FROM (%s))',
      custody.about_forgotten('t.', a.people), a.coming, same, custody.listed('c.', columns), custody.listed('t.', columns));
    EXECUTE format('SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM %s c WHERE %s)), count(*) FROM %s t WHERE %s', a.coming, same, a.rel, gone)
      INTO changed, removed USING tenant, away;
    removed := removed - changed;
    EXECUTE format('SELECT count(*) FROM %s c WHERE NOT EXISTS (SELECT FROM %s t WHERE %s)', a.coming, a.rel, same) INTO added;
    IF is_run THEN EXECUTE format('DELETE FROM %s t WHERE %s', a.rel, gone) USING tenant, away; END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- The second half: what came is put where it is not, what refers to nothing follows, and the rows are counted, without
-- those about somebody who was forgotten, which stayed as they were.
CREATE FUNCTION custody.bring_back(tenant uuid, away uuid[]) RETURNS TABLE (rel text, present bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_variable
DECLARE
  a record;
  f record;
  columns name[];
BEGIN
  FOR a IN SELECT r.*, format('pg_temp.coming_%s', r.step) AS coming FROM custody.archived r WHERE r.is_restored ORDER BY r.step LOOP
    columns := ARRAY(SELECT t.attname FROM pg_attribute t WHERE t.attrelid = to_regclass(a.coming) AND t.attnum > 0 ORDER BY t.attnum);
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s c WHERE NOT EXISTS (SELECT FROM %s t WHERE %s)', a.rel,
      custody.listed('', columns), custody.listed('c.', columns), a.coming, a.rel,
      (SELECT string_agg(format('c.%1$I = t.%1$I', k), ' AND ') FROM unnest('tenant_id'::name || custody.key_of(a.rel)) k));
  END LOOP;
  FOR f IN SELECT * FROM custody.follows LOOP
    EXECUTE format('%s WHERE t.tenant_id = $1 AND NOT EXISTS (SELECT FROM %s r WHERE (%s) = (%s)) AND num_nulls(%s) = 0',
      CASE WHEN f.is_removed THEN format('DELETE FROM %s t', f.rel)
        ELSE format('UPDATE %s t SET %s', f.rel, (SELECT string_agg(format('%I = NULL', c), ', ') FROM unnest(f.columns) c WHERE c <> 'tenant_id')) END,
      f.refers, custody.listed('r.', f.keys), custody.listed('t.', f.columns), custody.listed('t.', f.columns)) USING tenant;
  END LOOP;
  PERFORM custody.check_references('IMMEDIATE');
  FOR a IN SELECT r.* FROM custody.archived r WHERE r.is_restored ORDER BY r.step LOOP
    rel := a.rel::text;
    EXECUTE format('SELECT count(*) FROM %s t WHERE t.tenant_id = $1 AND NOT %s', a.rel, custody.about_forgotten('t.', a.people))
      INTO present USING tenant, away;
    RETURN NEXT;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION custody.columns_of(regclass), custody.page(uuid, regclass, jsonb, integer, name[], uuid[]), custody.make_room(jsonb),
  custody.take_rows(uuid, regclass, text, boolean), custody.settle(uuid, boolean, uuid[]), custody.bring_back(uuid, uuid[]) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Refuses whoever is not that studio's service `custody`.
CREATE FUNCTION custody.expect_service(tenant text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() OR tenancy.role() IS DISTINCT FROM 'service'
     OR tenancy.actor() IS DISTINCT FROM 'custody' THEN
    RAISE EXCEPTION 'not the service of this studio' USING ERRCODE = 'ZT018';
  END IF;
  RETURN tenant::uuid;
END $$;

-- The same for what brings a studio back: of a frozen one, which nobody else enters, it is its service `restore`.
CREATE FUNCTION custody.expect_restorer(tenant text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid = tenancy.tenant_id() AND tenancy.role() = 'service' AND tenancy.actor() = 'restore' THEN RETURN tenant::uuid; END IF;
  RETURN custody.expect_service(tenant);
END $$;

-- a1|key|tenant|expires at|nonce|mac: what goes into an archive of the studio, and the newest checkpoint of its ledger.
CREATE FUNCTION custody.archive(question text)
RETURNS TABLE (rel text, columns text[], is_restored boolean, is_key boolean, checkpoint text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'a1', 6);
  studio uuid := custody.expect_restorer(p[3]);
BEGIN
  RETURN QUERY SELECT a.rel::text, custody.columns_of(a.rel)::text[], a.is_restored, a.is_key,
      (SELECT c.note FROM ledger.checkpoints c WHERE c.tenant_id = studio ORDER BY c.size DESC LIMIT 1)
    FROM custody.archived a ORDER BY a.step;
END $$;

-- a2|key|tenant|table|after, or nothing|most|expires at|nonce|mac: some rows of it.
CREATE FUNCTION custody.archive_page(question text) RETURNS TABLE (line text, place text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'a2', 9);
  studio uuid := custody.expect_service(p[3]);
  which regclass := (SELECT a.rel FROM custody.archived a WHERE a.rel::text = p[4]);
BEGIN
  RETURN QUERY SELECT * FROM custody.page(studio, which, nullif(p[5], '')::jsonb, least(p[6]::integer, 2000));
END $$;

-- People who were forgotten in the studio that an archive is from, where that is another one.
CREATE FUNCTION custody.forgotten_there(tenant uuid, source uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ARRAY(SELECT f.person FROM custody.forgotten f WHERE f.tenant_id = source AND source <> tenant);
END $$;

-- a3|key|tenant|studio of the archive|tables with columns, as hexadecimal JSON|expires at|nonce|mac: makes room for what
-- comes back. Of a studio that was closed nothing does, wherever to.
CREATE FUNCTION custody.restore_begin(request text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'a3', 8);
BEGIN
  PERFORM custody.expect_restorer(p[3]);
  IF EXISTS (SELECT FROM tenancy.studios s WHERE s.tenant_id = p[4]::uuid AND s.status = 'closed') THEN
    RAISE EXCEPTION 'the studio of this archive was closed for good' USING ERRCODE = 'ZT052';
  END IF;
  PERFORM custody.make_room(convert_from(decode(p[5], 'hex'), 'UTF8')::jsonb);
END $$;

-- a7|key|tenant|expires at|nonce|mac: the studio is this transaction's alone until it ends. It waits two seconds for who is
-- in it, ends them then, and gives how many that were. Whoever wants in meanwhile is told that it is not available.
CREATE FUNCTION custody.restore_alone(request text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'a7', 6);
  studio uuid := custody.expect_restorer(p[3]);
  ended integer := tenancy.take_lock((SELECT s.lock_key FROM tenancy.studios s WHERE s.tenant_id = studio), interval '2 seconds');
BEGIN
  PERFORM custody.has_holds(studio), set_config('lock_timeout', '2s', true);
  RETURN ended;
END $$;

-- a4|key|tenant|table|rows, as hexadecimal lines of JSON|own or foreign|expires at|nonce|mac: gives how many it took.
CREATE FUNCTION custody.restore_rows(request text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'a4', 9);
  studio uuid := custody.expect_restorer(p[3]);
  which regclass := (SELECT a.rel FROM custody.archived a WHERE a.rel::text = p[4]);
BEGIN
  RETURN custody.take_rows(studio, which, convert_from(decode(p[5], 'hex'), 'UTF8'), p[6] = 'foreign');
END $$;

-- a5|key|tenant|studio of the archive|run or plan|expires at|nonce|mac: what would become of each table. A run removes what is to go.
CREATE FUNCTION custody.restore_settle(request text)
RETURNS TABLE (rel text, came bigint, forgotten bigint, removed bigint, changed bigint, added bigint, unreadable bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'a5', 8);
  studio uuid := custody.expect_restorer(p[3]);
BEGIN
  RETURN QUERY SELECT * FROM custody.settle(studio, p[5] = 'run', custody.forgotten_there(studio, p[4]::uuid));
END $$;

-- a6|key|tenant|studio of the archive|expires at|nonce|mac: brings back what came, and gives how many rows there are then.
CREATE FUNCTION custody.restore_end(request text) RETURNS TABLE (rel text, present bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'a6', 7);
  studio uuid := custody.expect_restorer(p[3]);
BEGIN
  RETURN QUERY SELECT * FROM custody.bring_back(studio, custody.forgotten_there(studio, p[4]::uuid));
  -- What is due of what came back is due now.
  PERFORM jobs.schedule(studio, kind, clock_timestamp()) FROM unnest(ARRAY['holds', 'challenges']) kind;
  UPDATE tenancy.studios s SET epoch = s.epoch + 1 WHERE s.tenant_id = studio;
END $$;
GRANT EXECUTE ON FUNCTION custody.archive(text), custody.archive_page(text), custody.restore_begin(text), custody.restore_alone(text),
  custody.restore_rows(text), custody.restore_settle(text), custody.restore_end(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
