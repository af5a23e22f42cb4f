-- Retention: what is over goes in small batches, as each studio's service `custody`, never past a legal
-- hold. A step is one transaction, so whoever dies in between has done some of them whole and the others not
-- at all; what is left to do stands in the rows themselves.

SET LOCAL ROLE {app}_owner;
GRANT USAGE ON SCHEMA custody, tenancy, vault TO {app}_custody;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

-- When rows are over, and what becomes of them; `retains` fills it. Expressions are over the row `t`.
CREATE TABLE custody.rules (
  name text PRIMARY KEY CHECK (name ~ '^[a-z_]{1,32}$'),
  -- What refers to others is over before them.
  step integer NOT NULL UNIQUE,
  rel regclass NOT NULL,
  since text NOT NULL,
  is_over text NOT NULL,
  least_days integer NOT NULL CHECK (least_days > 0),
  -- What goes with a row, in this order: tables, and in each the column that refers to it.
  with_rels regclass[] NOT NULL,
  with_columns name[] NOT NULL CHECK (cardinality(with_columns) = cardinality(with_rels)),
  -- What an anonymised row is set to; null: it is removed.
  blanks text,
  -- Whether the row is a person whose keys are destroyed.
  is_person boolean NOT NULL
);
GRANT SELECT ON custody.rules TO {app}_custody, {app}_gate;
GRANT SELECT ON custody.kept TO {app}_custody;
CREATE POLICY custody ON custody.legal_holds FOR SELECT TO {app}_custody USING (tenant_id = (SELECT tenancy.tenant_id()));
GRANT SELECT ON custody.legal_holds TO {app}_custody;
CREATE POLICY custody ON vault.person_keys TO {app}_custody USING (tenant_id = (SELECT tenancy.tenant_id()));
GRANT SELECT, DELETE ON vault.person_keys TO {app}_custody;

-- Lets the custody role read and remove the rows of the studio whose context is bound: by the same wall.
CREATE FUNCTION custody.entrust(rel regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  in_schema name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel);
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO {app}_custody', in_schema);
  EXECUTE format('GRANT SELECT, DELETE ON %s TO {app}_custody', rel);
  -- Several ask for the same table: retention, archives, closing.
  IF EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = rel AND p.polname = 'custody') THEN RETURN; END IF;
  EXECUTE format('CREATE POLICY custody ON %s TO {app}_custody
    USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))', rel);
END $$;

-- What a migration calls for a table whose rows are over one day, after `entrust` for it and for the tables
-- that go with it. `changes` are the columns that `blanks` sets, and `version`, which locks a row.
CREATE FUNCTION custody.retains(name text, step integer, rel regclass, since text, is_over text, least_days integer,
  with_rels regclass[] DEFAULT '{}', with_columns name[] DEFAULT '{}', blanks text DEFAULT NULL, changes name[] DEFAULT '{}',
  is_person boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO custody.rules VALUES (retains.name, retains.step, retains.rel, retains.since, retains.is_over, retains.least_days,
    retains.with_rels, retains.with_columns, retains.blanks, retains.is_person);
  EXECUTE format('GRANT UPDATE (version%s) ON %s TO {app}_custody',
    (SELECT string_agg(', ' || quote_ident(c), '') FROM unnest(changes) c), rel);
END $$;

SET LOCAL ROLE {app}_gate;
GRANT EXECUTE ON FUNCTION tenancy.tenant_id(), custody.is_held(regclass, jsonb), custody.edge(text, boolean) TO {app}_custody;

SET LOCAL ROLE {app}_custody;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_custody REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
-- The condition by which rows `t` of a rule are over: `$1` the studio, `$2` until when.
CREATE FUNCTION custody.over_by(r custody.rules) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN format('t.tenant_id = $1 AND (%s) AND (%s) < $2', r.is_over, r.since);
END $$;

-- The condition by which they, or what goes with them, are held.
CREATE FUNCTION custody.held_by(r custody.rules) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held text := format('custody.is_held(%L::regclass, to_jsonb(t))', r.rel::oid);
BEGIN
  FOR i IN 1..cardinality(r.with_rels) LOOP
    held := held || format(' OR EXISTS (SELECT FROM %s w WHERE w.tenant_id = t.tenant_id AND w.%I = t.id
      AND custody.is_held(%L::regclass, to_jsonb(w)))', r.with_rels[i], r.with_columns[i], r.with_rels[i]::oid);
  END LOOP;
  RETURN '(' || held || ')';
END $$;

-- Removes or anonymises some of what is over by a rule; gives the rows, and how many went with them.
CREATE FUNCTION custody.let_go(tenant uuid, rule text, until timestamptz, most integer, OUT ids uuid[], OUT along bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  r custody.rules;
  gone bigint;
BEGIN
  SELECT * INTO STRICT r FROM custody.rules t WHERE t.name = rule;
  along := 0;
  EXECUTE format('SELECT coalesce(array_agg(o.id), ''{}'') FROM (SELECT t.id FROM %s t WHERE %s AND NOT %s
    ORDER BY (%s), t.id LIMIT $3 FOR UPDATE SKIP LOCKED) o', r.rel, custody.over_by(r), custody.held_by(r), r.since)
    INTO ids USING tenant, until, most;
  FOR i IN 1..cardinality(r.with_rels) LOOP
    EXECUTE format('DELETE FROM %s w WHERE w.tenant_id = $1 AND w.%I = ANY ($2)', r.with_rels[i], r.with_columns[i]) USING tenant, ids;
    GET DIAGNOSTICS gone = ROW_COUNT;
    along := along + gone;
  END LOOP;
  IF r.blanks IS NULL THEN
    EXECUTE format('DELETE FROM %s t WHERE t.tenant_id = $1 AND t.id = ANY ($2)', r.rel) USING tenant, ids;
  ELSE
    EXECUTE format('UPDATE %s t SET version = t.version + 1, %s WHERE t.tenant_id = $1 AND t.id = ANY ($2)', r.rel, r.blanks)
      USING tenant, ids;
  END IF;
  IF r.is_person THEN
    DELETE FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = ANY (ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    along := along + gone;
  END IF;
END $$;

-- How many are over by a rule, and how many of them are held.
CREATE FUNCTION custody.count_over(tenant uuid, rule text, until timestamptz, OUT rel text, OUT is_removed boolean, OUT over bigint, OUT held bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  r custody.rules;
BEGIN
  SELECT * INTO STRICT r FROM custody.rules t WHERE t.name = rule;
  rel := r.rel::text;
  is_removed := r.blanks IS NULL;
  EXECUTE format('SELECT count(*), count(*) FILTER (WHERE %s) FROM %s t WHERE %s', custody.held_by(r), r.rel, custody.over_by(r))
    INTO over, held USING tenant, until;
END $$;
GRANT EXECUTE ON FUNCTION custody.let_go(uuid, text, timestamptz, integer), custody.count_over(uuid, text, timestamptz) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Refuses whoever is not the studio's service `custody`, and what no studio may decide.
CREATE FUNCTION custody.expect_over(tenant text, rule text, until_us text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  until timestamptz := timestamptz 'epoch' + until_us::bigint * interval '1 microsecond';
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() OR tenancy.role() IS DISTINCT FROM 'service'
     OR tenancy.actor() IS DISTINCT FROM 'custody' THEN
    RAISE EXCEPTION 'not the service of this studio' USING ERRCODE = 'ZT018';
  END IF;
  IF until > clock_timestamp() - (SELECT make_interval(days => r.least_days) FROM custody.rules r WHERE r.name = rule) THEN
    RAISE EXCEPTION 'kept for longer' USING ERRCODE = 'ZT051';
  END IF;
  RETURN until;
END $$;

-- c1|key|tenant|rule|until, in microseconds|most|expires at|nonce|mac: lets some of what is over go.
CREATE FUNCTION custody.retain(request text) RETURNS TABLE (ids uuid[], along bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'c1', 9);
  until timestamptz := custody.expect_over(p[3], p[4], p[5]);
BEGIN
  -- Whoever places a legal hold waits for this step; the next one sees it.
  PERFORM custody.has_holds(p[3]::uuid);
  RETURN QUERY SELECT l.ids, l.along FROM custody.let_go(p[3]::uuid, p[4], until, least(p[6]::integer, 1000)) l;
END $$;

-- c2|key|tenant|rule|until|expires at|nonce|mac: how much is over, and how much of it is held.
CREATE FUNCTION custody.plan(question text) RETURNS TABLE (rel text, is_removed boolean, over bigint, held bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'c2', 8);
  until timestamptz := custody.expect_over(p[3], p[4], p[5]);
BEGIN
  RETURN QUERY SELECT c.* FROM custody.count_over(p[3]::uuid, p[4], until) c;
END $$;

-- c3|key|expires at|nonce|mac: every studio.
CREATE FUNCTION custody.studios(question text) RETURNS TABLE (tenant uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'c3', 5);
BEGIN
  RETURN QUERY SELECT s.tenant_id FROM tenancy.studios s ORDER BY 1;
END $$;

-- c4|key|tenant|expires at|nonce|mac: the studio is done with; again in a day.
CREATE FUNCTION custody.again(fact text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'c4', 6);
BEGIN
  -- One at a time, however many workers did it.
  DELETE FROM jobs.due d WHERE d.tenant_id = p[3]::uuid AND d.kind = 'retention' AND d.due_at > clock_timestamp();
  PERFORM jobs.schedule(p[3]::uuid, 'retention', clock_timestamp() + interval '1 day');
END $$;
GRANT EXECUTE ON FUNCTION custody.retain(text), custody.plan(text), custody.studios(text), custody.again(text) TO {app}_app;

-- Each studio has the service, and work for it every day; and one that brings it back while it is frozen, and does nothing else.
CREATE FUNCTION custody.begin_keeping() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO tenancy.services (tenant_id, name) VALUES (NEW.tenant_id, 'custody'), (NEW.tenant_id, 'restore');
  PERFORM jobs.schedule(NEW.tenant_id, 'retention', clock_timestamp() + interval '1 day');
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION custody.begin_keeping() TO {app}_owner;
SET LOCAL row_security = on;
INSERT INTO tenancy.services (tenant_id, name) SELECT s.tenant_id, n FROM tenancy.studios s, unnest(ARRAY['custody', 'restore']) n;
INSERT INTO jobs.due (tenant_id, kind, due_at) SELECT s.tenant_id, 'retention', clock_timestamp() FROM tenancy.studios s;
SET LOCAL row_security = off;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER begin_keeping AFTER INSERT ON tenancy.studios FOR EACH ROW EXECUTE FUNCTION custody.begin_keeping();
SELECT custody.entrust('tenancy.members'),
  custody.retains('members', 90, 'tenancy.members', since => 't.updated_at',
    is_over => '(t.provider_removed OR t.state = ''removed'' AND t.subject IS NULL) AND num_nonnulls(t.subject, t.invitation, t.name, t.email, t.email_index) > 0',
    least_days => 90, is_person => true, changes => '{subject,invitation,name,email,email_index,state}',
    blanks => 'subject = NULL, invitation = NULL, name = NULL, email = NULL, email_index = NULL, state = ''removed''');
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
