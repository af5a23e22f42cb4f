-- What a migration calls: protect() for a table, add_reference() for a foreign key on a table that
-- has rows, open_backfill() and close_backfill() around an UPDATE of existing rows.

SET LOCAL ROLE {app}_owner;

-- Puts the wall around a table and refuses one whose keys are bridges or oracles.
--   own_column  the column that holds a freelancer's artist; without one, freelancers see nothing
-- The planner keeps no statistics of texts and bytes: EXPLAIN's estimates are made from all studios'
-- rows and would tell one what only another has.
CREATE FUNCTION tenancy.protect(rel regclass, own_column name DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  tenant_column smallint;
  bad text;
  own text := '';
  said_column name;
BEGIN
  SELECT attnum INTO tenant_column FROM pg_attribute
    WHERE attrelid = rel AND attname = 'tenant_id' AND atttypid = 'uuid'::regtype AND attnotnull;
  IF NOT FOUND THEN RAISE EXCEPTION 'protect %: it needs tenant_id uuid NOT NULL', rel; END IF;

  SELECT string_agg(conname, ', ') INTO bad FROM pg_constraint
    WHERE conrelid = rel AND (contype IN ('p', 'u', 'x') AND conkey[1] <> tenant_column
      OR contype = 'x' AND (SELECT oprname FROM pg_operator WHERE oid = conexclop[1]) <> '='
      OR contype = 'f' AND NOT (tenant_column = ANY (conkey)
        AND confkey[array_position(conkey, tenant_column)] =
          (SELECT attnum FROM pg_attribute WHERE attrelid = confrelid AND attname = 'tenant_id')));
  IF bad IS NOT NULL THEN RAISE EXCEPTION 'protect %: keys that do not lead with tenant_id: %', rel, bad; END IF;
  SELECT string_agg(indexrelid::regclass::text, ', ') INTO bad FROM pg_index
    WHERE indrelid = rel AND (indisunique OR indisexclusion) AND indkey[0] <> tenant_column;
  IF bad IS NOT NULL THEN RAISE EXCEPTION 'protect %: unique indexes that do not lead with tenant_id: %', rel, bad; END IF;

  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', rel);
  -- Restrictive: a careless permissive policy added later cannot open it.
  EXECUTE format('CREATE POLICY wall ON %s AS RESTRICTIVE TO {app}_app
    USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', rel);
  IF own_column IS NOT NULL THEN own := format(' OR %I = (SELECT tenancy.artist_id())', own_column); END IF;
  EXECUTE format('CREATE POLICY see ON %s FOR SELECT TO {app}_app USING ((SELECT tenancy.sees_all())%s)', rel, own);
  EXECUTE format('CREATE POLICY add ON %s FOR INSERT TO {app}_app WITH CHECK ((SELECT tenancy.writes()))', rel);
  EXECUTE format('CREATE POLICY change ON %s FOR UPDATE TO {app}_app
    USING ((SELECT tenancy.writes())) WITH CHECK ((SELECT tenancy.writes()))', rel);
  -- Proofs about all rows (orphans after a migration) are read by a role that nobody logs in as.
  EXECUTE format('CREATE POLICY digest ON %s FOR SELECT TO {app}_digest USING (true)', rel);
  EXECUTE format('GRANT SELECT ON %s TO {app}_digest', rel);
  -- Whatever changes a row stands in the studio's ledger. The row is named by the first uuid of its
  -- primary key after the tenant.
  EXECUTE format('CREATE TRIGGER ledger_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.capture(%L)',
    rel, (SELECT a.attname FROM pg_constraint k, unnest(k.conkey) WITH ORDINALITY c(attnum, n)
          JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = c.attnum
          WHERE k.conrelid = rel AND k.contype = 'p' AND a.atttypid = 'uuid'::regtype AND a.attname <> 'tenant_id' ORDER BY c.n LIMIT 1));
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER ledger_capture', rel);
  FOR said_column IN
    SELECT attname FROM pg_attribute WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped
      AND atttypid IN ('text'::regtype, 'bytea'::regtype, 'varchar'::regtype, 'jsonb'::regtype, 'text[]'::regtype)
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER %I SET STATISTICS 0', rel, said_column);
  END LOOP;
END $$;

-- Adds (or, when it exists unvalidated, validates) a foreign key on a table under FORCE.
-- The owner sees no row, so PostgreSQL's one-query check would find no orphan and call the key
-- valid. Without SELECT on the referencing table it falls back to its row-by-row check, which is right.
CREATE FUNCTION tenancy.add_reference(rel regclass, name name, definition text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  EXECUTE format('REVOKE SELECT ON %s FROM {app}_owner', rel);
  IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = rel AND conname = add_reference.name) THEN
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', rel, name);
  ELSE
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', rel, name, definition);
  END IF;
  EXECUTE format('GRANT SELECT ON %s TO {app}_owner', rel);
END $$;

-- Lets the backfill role, which owns nothing, see and write the named columns of every row. The
-- migration then says SET LOCAL ROLE {app}_backfill and SET LOCAL row_security = on, updates in
-- batches, and closes. Never NO FORCE: that would open every view of the owner meanwhile.
CREATE FUNCTION tenancy.open_backfill(rel regclass, columns name[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  list text := (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c);
  in_schema name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel);
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO {app}_backfill', in_schema);
  EXECUTE format('GRANT SELECT, UPDATE (%s) ON %s TO {app}_backfill', list, rel);
  EXECUTE format('CREATE POLICY backfill_see ON %s FOR SELECT TO {app}_backfill USING (true)', rel);
  EXECUTE format('CREATE POLICY backfill_change ON %s FOR UPDATE TO {app}_backfill USING (true) WITH CHECK (true)', rel);
END $$;

CREATE FUNCTION tenancy.close_backfill(rel regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  EXECUTE format('DROP POLICY backfill_see ON %s', rel);
  EXECUTE format('DROP POLICY backfill_change ON %s', rel);
  EXECUTE format('REVOKE ALL ON %s FROM {app}_backfill', rel);
END $$;
