-- Erasure of a person: the keys are destroyed, what the rows say of them goes, and what other records refer to
-- stays without it. Who was erased is noted by id alone, and a row that comes back from an older copy comes
-- back without it, too.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;

-- Where a person is; `erases` fills it.
CREATE TABLE custody.erasures (
  -- What refers to others goes before them.
  step integer PRIMARY KEY,
  rel regclass NOT NULL UNIQUE,
  -- The column with the person's id.
  col name NOT NULL,
  -- Which of those rows `t` say something.
  says text NOT NULL,
  -- What such a row is left with, where `{id}` is of its own id; null: it is removed.
  blanks jsonb,
  -- Where the row is the person: what must be so before. Elsewhere null.
  ready text
);
-- People who were forgotten: erased, or, of which archives take note, anonymised or their last key destroyed. Ids, and
-- what tells the identity provider's late words from new ones; kept as long as the studio.
CREATE TABLE custody.forgotten (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  person uuid NOT NULL,
  -- Whatever is written of them is emptied, whoever writes it.
  is_erased boolean NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Of a member: the provider's name for them under a key of the database, and until when its words are of before.
  subject_digest bytea,
  subject_at_ms bigint,
  PRIMARY KEY (tenant_id, person),
  CONSTRAINT forgotten_subject CHECK (num_nonnulls(subject_digest, subject_at_ms) <> 1)
);
ALTER TABLE custody.forgotten ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON custody.forgotten AS RESTRICTIVE TO {app}_app USING (false) WITH CHECK (false);
CREATE POLICY custody ON custody.forgotten TO {app}_custody
  USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()));
CREATE POLICY gate ON custody.forgotten TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON custody.forgotten FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT, UPDATE (is_erased) ON custody.forgotten TO {app}_custody;
GRANT SELECT, INSERT, UPDATE (is_erased, subject_digest, subject_at_ms) ON custody.forgotten TO {app}_gate;
GRANT SELECT ON custody.forgotten TO {app}_digest;
GRANT SELECT ON custody.erasures TO {app}_custody, {app}_gate;

SET LOCAL ROLE {app}_gate;
-- What is written of somebody who was erased says nothing of them, and what would be removed is not written:
-- whoever writes it, an older copy of the rows included.
CREATE FUNCTION custody.keep_erased() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  e custody.erasures;
  written jsonb := to_jsonb(NEW);
BEGIN
  SELECT * INTO STRICT e FROM custody.erasures t WHERE t.rel = TG_RELID;
  IF NOT EXISTS (SELECT FROM custody.forgotten f WHERE f.tenant_id = NEW.tenant_id AND f.person = (written ->> e.col)::uuid AND f.is_erased) THEN
    RETURN NEW;
  END IF;
  IF e.blanks IS NULL THEN RETURN NULL; END IF;
  RETURN jsonb_populate_record(NEW, replace(e.blanks::text, '{id}', upper(left(replace(written ->> 'id', '-', ''), 8)))::jsonb);
END $$;

CREATE FUNCTION custody.digest_of(tenant uuid, subject text) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tenancy.hmac('seal', 1::smallint, 'forgotten|' || tenant || '|' || subject)
$$;

-- Of a member whose name at the provider goes it is noted that what that said until now is done with.
CREATE FUNCTION custody.forget_member() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO custody.forgotten (tenant_id, person, is_erased, subject_digest, subject_at_ms)
    VALUES (NEW.tenant_id, NEW.id, false, custody.digest_of(NEW.tenant_id, OLD.subject),
      greatest(OLD.provider_at_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint))
    ON CONFLICT ON CONSTRAINT forgotten_pkey DO UPDATE
      SET subject_digest = EXCLUDED.subject_digest, subject_at_ms = EXCLUDED.subject_at_ms;
  RETURN NULL;
END $$;

-- By a word of before nobody who was forgotten becomes a member anew. The rows that are them `keep_erased` empties.
CREATE FUNCTION custody.keep_away() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF EXISTS (SELECT FROM custody.forgotten f WHERE f.tenant_id = NEW.tenant_id AND f.person <> NEW.id
      AND f.subject_digest = custody.digest_of(NEW.tenant_id, NEW.subject) AND f.subject_at_ms >= NEW.provider_at_ms) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION custody.keep_erased(), custody.forget_member(), custody.keep_away() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
-- What a migration calls for a table in which people are, after `entrust` for it.
CREATE FUNCTION custody.erases(step integer, rel regclass, col name, says text DEFAULT 'true', blanks jsonb DEFAULT NULL,
  ready text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO custody.erasures VALUES (erases.step, erases.rel, erases.col, erases.says, erases.blanks, erases.ready);
  IF blanks IS NOT NULL THEN EXECUTE format('GRANT UPDATE (version) ON %s TO {app}_custody', rel); END IF;
  EXECUTE format('CREATE TRIGGER keep_erased BEFORE INSERT OR UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION custody.keep_erased()',
    rel, regexp_replace(says, '\mt\.', 'NEW.', 'g'));
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER keep_erased', rel);
END $$;

SET LOCAL ROLE {app}_custody;
-- A person by the ids of all the rows that are them: an artist, and the artist's members.
CREATE FUNCTION custody.people_of(tenant uuid, person uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  artist uuid := coalesce((SELECT m.artist_id FROM tenancy.members m WHERE m.tenant_id = tenant AND m.id = person), person);
BEGIN
  RETURN ARRAY(SELECT person UNION SELECT artist UNION
    SELECT m.id FROM tenancy.members m WHERE m.tenant_id = tenant AND m.artist_id = artist);
END $$;

-- Whose the rows of these ids are, by the columns that an erasure goes by: artists and members.
CREATE FUNCTION custody.people_in(tenant uuid, ids uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  e custody.erasures;
BEGIN
  FOR e IN SELECT * FROM custody.erasures t ORDER BY t.step LOOP
    CONTINUE WHEN NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.rel AND a.attname = 'id');
    RETURN QUERY EXECUTE format('SELECT t.%I FROM %s t WHERE t.tenant_id = $1 AND t.id = ANY ($2) AND t.%I IS NOT NULL', e.col, e.rel, e.col)
      USING tenant, ids;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION custody.people_in(uuid, uuid[]) TO {app}_gate;

-- Why a person is not erased now: still at work in the studio, or what a legal hold keeps is about them.
CREATE FUNCTION custody.why_not(tenant uuid, people uuid[]) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  e custody.erasures;
  is_ready boolean := true;
  is_held boolean := false;
BEGIN
  FOR e IN SELECT * FROM custody.erasures t ORDER BY t.step LOOP
    EXECUTE format('SELECT $3 AND coalesce(bool_and(%s), true), $4 OR coalesce(bool_or(custody.is_held(%L::regclass, to_jsonb(t))), false)
      FROM %s t WHERE t.tenant_id = $1 AND t.%I = ANY ($2)', coalesce(e.ready, 'true'), e.rel::oid, e.rel, e.col)
      INTO is_ready, is_held USING tenant, people, is_ready, is_held;
  END LOOP;
  RETURN CASE WHEN is_held THEN 'legal_hold' WHEN NOT is_ready THEN 'erasure_ready' END;
END $$;

-- What would go, or what went: by table how many rows, and how many keys.
CREATE FUNCTION custody.erase_rows(tenant uuid, person uuid, is_plan boolean)
RETURNS TABLE (place text, becomes text, is_person boolean, many bigint, kept_by text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  people uuid[] := custody.people_of(tenant, person);
  e custody.erasures;
  of_them text;
BEGIN
  kept_by := custody.why_not(tenant, people);
  IF NOT is_plan THEN
    IF kept_by IS NOT NULL THEN
      RAISE EXCEPTION 'not now' USING ERRCODE = CASE kept_by WHEN 'legal_hold' THEN 'ZT050' ELSE '23514' END, CONSTRAINT = kept_by;
    END IF;
    INSERT INTO custody.forgotten (tenant_id, person, is_erased) SELECT tenant, unnest(people), true
      ON CONFLICT ON CONSTRAINT forgotten_pkey DO UPDATE SET is_erased = true;
  END IF;
  FOR e IN SELECT * FROM custody.erasures t ORDER BY t.step LOOP
    of_them := format('%s t WHERE t.tenant_id = $1 AND t.%I = ANY ($2)', e.rel, e.col);
    place := e.rel::text;
    becomes := CASE WHEN e.blanks IS NULL THEN 'removed' ELSE 'anonymised' END;
    is_person := e.ready IS NOT NULL;
    EXECUTE format('SELECT count(*) FROM %s AND (%s)', of_them, e.says) INTO many USING tenant, people;
    IF NOT is_plan THEN
      IF e.blanks IS NULL THEN
        EXECUTE format('DELETE FROM %s AND (%s)', of_them, e.says) USING tenant, people;
      ELSE
        -- The trigger takes out what they say. Nobody's version is stale but the person's own.
        EXECUTE format('UPDATE %s t SET version = t.version + $3 WHERE t.tenant_id = $1 AND t.%I = ANY ($2) AND (%s)', e.rel, e.col, e.says)
          USING tenant, people, is_person::integer;
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
  place := 'vault.person_keys';
  becomes := 'destroyed';
  is_person := false;
  SELECT count(*) INTO many FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = ANY (people);
  IF NOT is_plan THEN DELETE FROM vault.person_keys k WHERE k.tenant_id = tenant AND k.person = ANY (people); END IF;
  RETURN NEXT;
END $$;
GRANT EXECUTE ON FUNCTION custody.erase_rows(uuid, uuid, boolean) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Refuses whoever is neither an owner of the studio, by a request that changes things, nor its service `custody`.
CREATE FUNCTION custody.expect_owner(tenant text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() OR NOT coalesce(tenancy.writes(), false)
     OR NOT (tenancy.role() = 'owner' OR tenancy.role() = 'service' AND tenancy.actor() = 'custody') THEN
    RAISE EXCEPTION 'neither an owner nor the service of this studio' USING ERRCODE = 'ZT018';
  END IF;
  RETURN tenant::uuid;
END $$;

-- e1|key|tenant|person|plan or erase|expires at|nonce|mac: erases a person, or says what would go.
CREATE FUNCTION custody.erase(request text) RETURNS TABLE (place text, becomes text, is_person boolean, many bigint, kept_by text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'e1', 8);
  tenant uuid := custody.expect_owner(p[3]);
  is_plan boolean := p[5] <> 'erase';
BEGIN
  IF NOT custody.is_there(tenant, 'person', p[4]::uuid) THEN
    RAISE EXCEPTION 'nobody of that id' USING ERRCODE = '23503', CONSTRAINT = 'legal_holds_ref';
  END IF;
  -- Whoever places a legal hold waits for this one.
  PERFORM custody.has_holds(tenant);
  RETURN QUERY SELECT * FROM custody.erase_rows(tenant, p[4]::uuid, is_plan);
  -- Kept answers may have the person in them, whoever they were for.
  IF NOT is_plan THEN DELETE FROM tenancy.answers a WHERE a.tenant_id = tenant; END IF;
END $$;
GRANT EXECUTE ON FUNCTION custody.erase(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
SELECT custody.entrust('tenancy.feeds'), custody.entrust('tenancy.page_sessions'),
  custody.erases(10, 'tenancy.feeds', 'member_id'), custody.erases(20, 'tenancy.page_sessions', 'member_id'),
  -- Whom the provider still has it would name again.
  custody.erases(90, 'tenancy.members', 'id', ready => 't.provider_removed OR t.state = ''removed'' AND t.subject IS NULL',
    says => 'num_nonnulls(t.subject, t.invitation, t.name, t.email, t.email_index) > 0',
    blanks => '{"subject": null, "invitation": null, "name": null, "email": null, "email_index": null, "state": "removed"}');
CREATE TRIGGER forget_member AFTER UPDATE ON tenancy.members FOR EACH ROW
  WHEN (OLD.subject IS NOT NULL AND NEW.subject IS NULL) EXECUTE FUNCTION custody.forget_member();
CREATE TRIGGER keep_away BEFORE INSERT ON tenancy.members FOR EACH ROW
  WHEN (NEW.subject IS NOT NULL) EXECUTE FUNCTION custody.keep_away();
ALTER TABLE tenancy.members ENABLE ALWAYS TRIGGER forget_member, ENABLE ALWAYS TRIGGER keep_away;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
