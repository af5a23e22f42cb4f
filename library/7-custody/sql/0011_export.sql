-- Exports: what a studio, or what of it is about one person, is given out, as the studio's service `custody` reads it. The
-- tables are those of archives and erasure, so that a new one is in it.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;

-- What goes into an archive and to nobody else.
ALTER TABLE custody.archived ADD COLUMN is_given boolean NOT NULL DEFAULT true;
-- What a migration calls for a table that is of no use outside, after `archives` for it.
CREATE FUNCTION custody.withholds(rel regclass) RETURNS void LANGUAGE sql SET search_path = pg_catalog AS $$
  UPDATE custody.archived SET is_given = false WHERE archived.rel = withholds.rel
$$;

SET LOCAL ROLE {app}_custody;
-- The tables of an export in their order, and by which columns rows are about a person. Of a studio: all that goes into
-- its archive but keys and what is withheld. Of a person: wherever an id of theirs is; a row that is a person is theirs by
-- its own id alone.
CREATE FUNCTION custody.exported(of_person boolean) RETURNS TABLE (rel regclass, step integer, about name[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.rel, a.step, '{}'::name[] FROM custody.archived a WHERE a.is_given AND NOT a.is_key AND NOT of_person
  UNION ALL SELECT w.rel, min(w.step), CASE WHEN bool_or(w.col = 'id') THEN '{id}' ELSE array_agg(DISTINCT w.col) END FROM (
    SELECT a.rel, a.step, p AS col FROM custody.archived a, unnest(a.people) p WHERE a.is_given AND NOT a.is_key
    UNION ALL SELECT e.rel, 1000 + e.step, e.col FROM custody.erasures e) w
  WHERE of_person GROUP BY w.rel ORDER BY 2
$$;

-- A person by their ids: an artist and the artist's member. Of an artist with several members each is somebody of their
-- own, and so is the artist: no one's rows are given out as another's. Who was anonymised is nobody any more, and is
-- given out by their own id alone.
CREATE FUNCTION custody.one_person(tenant uuid, person uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  artist uuid := coalesce((SELECT m.artist_id FROM tenancy.members m WHERE m.tenant_id = tenant AND m.id = person), person);
  members uuid[] := ARRAY(SELECT m.id FROM tenancy.members m
    WHERE m.tenant_id = tenant AND m.artist_id = artist AND num_nonnulls(m.subject, m.invitation) > 0);
BEGIN
  RETURN CASE WHEN cardinality(array_remove(members, person)) > (artist = person)::integer THEN ARRAY[person]
    ELSE ARRAY(SELECT person UNION SELECT artist UNION SELECT unnest(members)) END;
END $$;

-- Those tables, how many rows each gives, and which of its columns hold what was sealed with a person's key.
CREATE FUNCTION custody.export_tables(tenant uuid, person uuid) RETURNS TABLE (rel text, opened text[], many bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  people uuid[] := custody.one_person(tenant, person);
  e record;
BEGIN
  FOR e IN SELECT * FROM custody.exported(person IS NOT NULL) LOOP
    rel := e.rel::text;
    opened := ARRAY(SELECT s.col::text FROM vault.sealed_columns s WHERE s.rel = e.rel AND s.of_person);
    EXECUTE format('SELECT count(*) FROM %s t WHERE t.tenant_id = $1 AND %s', e.rel, custody.names_any(e.about, '$2'))
      INTO many USING tenant, people;
    RETURN NEXT;
  END LOOP;
END $$;

CREATE FUNCTION custody.export_rows(tenant uuid, rel text, person uuid, after jsonb, most integer) RETURNS TABLE (line text, place text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  e record;
BEGIN
  SELECT * INTO STRICT e FROM custody.exported(person IS NOT NULL) x WHERE x.rel::text = export_rows.rel;
  RETURN QUERY SELECT * FROM custody.page(tenant, e.rel, after, most, e.about, custody.one_person(tenant, person));
END $$;
GRANT EXECUTE ON FUNCTION custody.export_tables(uuid, uuid), custody.export_rows(uuid, text, uuid, jsonb, integer) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- x1|key|tenant|person or nothing|expires at|nonce|mac: what an export has.
CREATE FUNCTION custody.export(question text) RETURNS TABLE (rel text, opened text[], many bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'x1', 7);
BEGIN
  RETURN QUERY SELECT * FROM custody.export_tables(custody.expect_service(p[3]), nullif(p[4], '')::uuid);
END $$;

-- x2|key|tenant|table|person or nothing|after, or nothing|most|expires at|nonce|mac: some rows of it.
CREATE FUNCTION custody.export_page(question text) RETURNS TABLE (line text, place text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'x2', 10);
BEGIN
  RETURN QUERY SELECT * FROM custody.export_rows(custody.expect_service(p[3]), p[4], nullif(p[5], '')::uuid,
    nullif(p[6], '')::jsonb, least(p[7]::integer, 2000));
END $$;
GRANT EXECUTE ON FUNCTION custody.export(text), custody.export_page(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
