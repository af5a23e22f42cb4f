-- Legal holds: what lies under one is neither changed nor removed nor shredded, whoever asks and by
-- whatever way. Kept by triggers that no setting turns off.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA custody;
GRANT USAGE ON SCHEMA custody TO {app}_app, {app}_gate, {app}_digest, {app}_ops;
GRANT CREATE ON SCHEMA custody TO {app}_gate, {app}_digest;

CREATE TABLE custody.legal_holds (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  scope text NOT NULL CHECK (scope IN ('studio', 'person', 'project', 'window')),
  ref uuid,
  starts_at timestamptz,
  ends_at timestamptz,
  -- `ref`, and of a person the other rows that are them: a member's artist, an artist's members.
  covers uuid[] NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
  -- A member's id, or the login of an operator. The database says who, not the statement.
  placed_by text NOT NULL,
  released_at timestamptz,
  released_by text,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT legal_holds_scope CHECK ((scope IN ('person', 'project')) = (ref IS NOT NULL)
    AND (scope = 'window') = (starts_at IS NOT NULL) AND (scope = 'window') = (ends_at IS NOT NULL)),
  CONSTRAINT legal_holds_window CHECK (starts_at < ends_at)
);
CREATE INDEX legal_holds_open ON custody.legal_holds (tenant_id) WHERE released_at IS NULL;
CREATE INDEX legal_holds_by_creation ON custody.legal_holds (tenant_id, created_at, id);
SELECT tenancy.protect('custody.legal_holds');
ALTER TABLE custody.legal_holds ALTER covers SET STATISTICS 0;
CREATE POLICY owners ON custody.legal_holds AS RESTRICTIVE TO {app}_app
  USING ((SELECT tenancy.role()) = 'owner') WITH CHECK ((SELECT tenancy.role()) = 'owner');
-- What an operator placed in an incident may be about an owner: none of them releases it.
CREATE POLICY own ON custody.legal_holds AS RESTRICTIVE FOR UPDATE TO {app}_app USING (placed_by NOT LIKE 'operator:%');
CREATE POLICY gate ON custody.legal_holds TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (tenant_id, id, scope, ref, starts_at, ends_at, reason), UPDATE (version, updated_at, released_at)
  ON custody.legal_holds TO {app}_app;
GRANT SELECT, INSERT, UPDATE (version, updated_at, released_at) ON custody.legal_holds TO {app}_gate;

-- Which tables hold what can be held, and by which of their columns; `keeps` fills it.
CREATE TABLE custody.kept (
  rel regclass PRIMARY KEY,
  people name[] NOT NULL,
  project name,
  starts name,
  ends name,
  -- What may change all the same: who may come in, whether something was delivered.
  lets text[] NOT NULL
);
GRANT SELECT ON custody.kept TO {app}_gate, {app}_digest;

SET LOCAL ROLE {app}_gate;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_gate REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Whoever changes what could be held takes this lock shared, whoever places a legal hold takes it alone:
-- so that the two never pass each other. Keyed, so that nobody can compute another studio's.
CREATE FUNCTION custody.lock_key(tenant uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ('x' || encode(substr(tenancy.hmac('seal', 1::smallint, 'legal-hold|' || tenant), 1, 8), 'hex'))::bit(64)::bigint
$$;

CREATE FUNCTION custody.who() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN session_user = '{app}_app' THEN tenancy.actor() ELSE 'operator:' || session_user END
$$;

-- When a row's time begins or ends. What is open is so for ever; a day is one somewhere between UTC+14 and UTC-12.
CREATE FUNCTION custody.edge(written text, is_end boolean) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
  SELECT CASE
    WHEN written IS NULL THEN CASE WHEN is_end THEN timestamptz 'infinity' ELSE timestamptz '-infinity' END
    WHEN length(written) > 10 THEN written::timestamptz
    WHEN is_end THEN written::timestamptz + interval '36 hours'
    ELSE written::timestamptz - interval '14 hours' END
$$;

-- Whether a row lies under a legal hold that is not released. A window holds what touches it.
CREATE FUNCTION custody.is_held(which regclass, held_row jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  RETURN EXISTS (SELECT FROM custody.legal_holds h JOIN custody.kept k ON k.rel = which
    WHERE h.tenant_id = (held_row ->> 'tenant_id')::uuid AND h.released_at IS NULL AND CASE h.scope
      WHEN 'studio' THEN true
      WHEN 'person' THEN EXISTS (SELECT FROM unnest(k.people) c WHERE (held_row ->> c)::uuid = ANY (h.covers))
      WHEN 'project' THEN (held_row ->> k.project)::uuid = ANY (h.covers)
      -- What has no beginning began when it was made: what is made after the window is none of it.
      ELSE k.starts IS NOT NULL AND custody.edge(coalesce(held_row ->> k.starts, held_row ->> 'created_at'), false) <= h.ends_at
        AND custody.edge(held_row ->> k.ends, true) >= h.starts_at
    END);
END $$;

-- The same for a row of the studio whose context is bound.
CREATE FUNCTION custody.held(which regclass, held_row jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN custody.is_held(which, held_row || jsonb_build_object('tenant_id', tenancy.tenant_id()));
END $$;
GRANT EXECUTE ON FUNCTION custody.held(regclass, jsonb) TO {app}_app;

CREATE FUNCTION custody.refuse() RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'under a legal hold' USING ERRCODE = 'ZT050', CONSTRAINT = 'legal_hold';
END $$;

-- Whether a studio has a legal hold that is not released. Waits for one that is being placed.
CREATE FUNCTION custody.has_holds(tenant uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(custody.lock_key(tenant));
  -- A new statement has a new snapshot, taken after the lock.
  RETURN EXISTS (SELECT FROM custody.legal_holds h WHERE h.tenant_id = tenant AND h.released_at IS NULL);
END $$;

CREATE FUNCTION custody.keep_held() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  is_change boolean := TG_OP = 'UPDATE';
  lets text[];
BEGIN
  IF custody.has_holds(OLD.tenant_id) THEN
    IF is_change THEN
      lets := (SELECT k.lets FROM custody.kept k WHERE k.rel = TG_RELID);
      IF to_jsonb(NEW) - lets = to_jsonb(OLD) - lets THEN RETURN NEW; END IF;
    END IF;
    IF custody.is_held(TG_RELID, to_jsonb(OLD)) THEN PERFORM custody.refuse(); END IF;
  END IF;
  IF is_change THEN RETURN NEW; END IF;
  RETURN OLD;
END $$;

-- The identity provider's word on who may come in counts for somebody who is held, too; their name stays as it is.
CREATE FUNCTION custody.keep_name() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF custody.has_holds(OLD.tenant_id) AND custody.is_held(TG_RELID, to_jsonb(OLD)) THEN
    NEW.name := OLD.name;
    -- Told again after the release, it counts.
    NEW.name_at_ms := OLD.name_at_ms;
  END IF;
  RETURN NEW;
END $$;

-- A key is not destroyed while its holder is held, unless a newer one has taken its place.
CREATE FUNCTION custody.keep_keys() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  holder uuid := (to_jsonb(OLD) ->> 'person')::uuid;
  is_renewed boolean;
BEGIN
  IF custody.has_holds(OLD.tenant_id) THEN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s k WHERE k.tenant_id = $1 AND k.number > $2%s)', TG_RELID::regclass,
      CASE WHEN holder IS NOT NULL THEN ' AND k.person = $3' END) INTO is_renewed USING OLD.tenant_id, OLD.number, holder;
    IF NOT is_renewed AND EXISTS (SELECT FROM custody.legal_holds h WHERE h.tenant_id = OLD.tenant_id AND h.released_at IS NULL
        AND (holder IS NULL OR h.scope = 'studio' OR holder = ANY (h.covers))) THEN
      PERFORM custody.refuse();
    END IF;
  END IF;
  RETURN OLD;
END $$;

-- What an update of `custody.legal_holds` may do is to release one, once.
CREATE FUNCTION custody.release() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF OLD.released_at IS NOT NULL OR NEW.released_at IS NULL THEN
    RAISE EXCEPTION 'a release is for good' USING ERRCODE = '23514', CONSTRAINT = 'legal_holds_released';
  END IF;
  NEW.released_by := custody.who();
  RETURN NEW;
END $$;

CREATE FUNCTION custody.keep_open() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM custody.refuse();
  RETURN NULL;
END $$;

SET LOCAL ROLE {app}_digest;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_digest REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
-- Whether there is a person or a project of that id in a studio.
CREATE FUNCTION custody.is_there(tenant uuid, scope text, ref uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  k record;
  found_one boolean := false;
BEGIN
  FOR k IN SELECT * FROM custody.kept t WHERE CASE is_there.scope WHEN 'person' THEN 'id' = ANY (t.people) ELSE t.project = 'id' END
  LOOP
    EXECUTE format('SELECT $3 OR EXISTS (SELECT FROM %s t WHERE t.tenant_id = $1 AND t.id = $2)', k.rel)
      USING tenant, ref, found_one INTO found_one;
  END LOOP;
  RETURN found_one;
END $$;
GRANT EXECUTE ON FUNCTION custody.is_there(uuid, text, uuid) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Waits for what is under way in the studio, and says who places it and whom it is about.
CREATE FUNCTION custody.place() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF session_user = '{app}_app' AND tenancy.tenant_id() IS DISTINCT FROM NEW.tenant_id THEN
    RAISE EXCEPTION 'context lost' USING ERRCODE = 'ZT002';
  END IF;
  -- Others of this studio wait behind it: not for long.
  PERFORM set_config('lock_timeout', '1s', true);
  PERFORM pg_advisory_xact_lock(custody.lock_key(NEW.tenant_id));
  IF NEW.ref IS NOT NULL AND NOT custody.is_there(NEW.tenant_id, NEW.scope, NEW.ref) THEN
    RAISE EXCEPTION 'nothing of that id' USING ERRCODE = '23503', CONSTRAINT = 'legal_holds_ref';
  END IF;
  IF (SELECT count(*) FROM custody.legal_holds h WHERE h.tenant_id = NEW.tenant_id AND h.released_at IS NULL) >= 1000 THEN
    RAISE EXCEPTION 'too many legal holds' USING ERRCODE = '23514', CONSTRAINT = 'legal_holds_most';
  END IF;
  NEW.covers := ARRAY(SELECT NEW.ref WHERE NEW.ref IS NOT NULL UNION
    SELECT unnest(ARRAY[m.id, m.artist_id]) FROM tenancy.members m
      WHERE NEW.scope = 'person' AND m.tenant_id = NEW.tenant_id AND NEW.ref IN (m.id, m.artist_id) AND m.artist_id IS NOT NULL);
  NEW.placed_by := custody.who();
  RETURN NEW;
END $$;

-- For operators, in an incident. They see and release what operators placed, and nothing else.
CREATE FUNCTION custody.place_legal_hold(tenant uuid, scope text, ref uuid, starts_at timestamptz, ends_at timestamptz, reason text)
RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  made uuid := gen_random_uuid();
BEGIN
  INSERT INTO custody.legal_holds (tenant_id, id, scope, ref, starts_at, ends_at, reason)
    VALUES (tenant, made, scope, ref, starts_at, ends_at, reason);
  PERFORM ledger.note(tenant, 'legal_hold.place', 'legal_hold', ARRAY[made]);
  RETURN made;
END $$;

-- The same on a window, unless what it is about is held already. Granted to nobody: incidents place it with their evidence.
CREATE FUNCTION custody.hold_window(tenant uuid, first timestamptz, last timestamptz, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM custody.legal_holds h WHERE h.tenant_id = tenant AND h.released_at IS NULL AND h.placed_by LIKE 'operator:%'
      AND (h.scope = 'studio' OR h.scope = 'window' AND h.starts_at <= first AND h.ends_at >= last)) THEN
    PERFORM custody.place_legal_hold(tenant, 'window', NULL, first, last, hold_window.reason);
  END IF;
END $$;

CREATE FUNCTION custody.release_legal_hold(tenant uuid, which uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE custody.legal_holds h SET version = h.version + 1, updated_at = clock_timestamp(), released_at = clock_timestamp()
    WHERE h.tenant_id = tenant AND h.id = which AND h.released_at IS NULL AND h.placed_by LIKE 'operator:%';
  IF FOUND THEN PERFORM ledger.note(tenant, 'legal_hold.release', 'legal_hold', ARRAY[which]); RETURN true; END IF;
  RETURN false;
END $$;

CREATE FUNCTION custody.operators_legal_holds(tenant uuid)
RETURNS TABLE (id uuid, created_at timestamptz, scope text, ref uuid, starts_at timestamptz, ends_at timestamptz, reason text,
  placed_by text, released_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT h.id, h.created_at, h.scope, h.ref, h.starts_at, h.ends_at, h.reason, h.placed_by, h.released_at
    FROM custody.legal_holds h WHERE h.tenant_id = tenant AND h.placed_by LIKE 'operator:%' ORDER BY h.created_at, h.id;
END $$;
GRANT EXECUTE ON FUNCTION custody.place_legal_hold(uuid, text, uuid, timestamptz, timestamptz, text),
  custody.release_legal_hold(uuid, uuid), custody.operators_legal_holds(uuid) TO {app}_ops;
GRANT EXECUTE ON FUNCTION custody.keep_held(), custody.keep_name(), custody.keep_keys(), custody.release(), custody.keep_open(), custody.place()
  TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER place BEFORE INSERT ON custody.legal_holds FOR EACH ROW EXECUTE FUNCTION custody.place();
CREATE TRIGGER release BEFORE UPDATE ON custody.legal_holds FOR EACH ROW EXECUTE FUNCTION custody.release();
CREATE TRIGGER keep_open BEFORE DELETE ON custody.legal_holds FOR EACH ROW
  WHEN (OLD.released_at IS NULL) EXECUTE FUNCTION custody.keep_open();
ALTER TABLE custody.legal_holds ENABLE ALWAYS TRIGGER release, ENABLE ALWAYS TRIGGER keep_open;

-- What a migration calls for a table whose rows can be held.
--   people    columns with the id of a person, an artist or a member
--   project   the column with the project's id
--   starts, ends   the columns with the time that a row is about
--   lets      columns that may change all the same
-- The gate's own updates are not asked: they put a new seal on what stays as it is, and write what the
-- identity provider says of who may come in, but for names (`keep_name`). It removes nothing that is held, as nobody does.
CREATE FUNCTION custody.keeps(rel regclass, people name[] DEFAULT '{}', project name DEFAULT NULL, starts name DEFAULT NULL,
  ends name DEFAULT NULL, lets text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO custody.kept (rel, people, project, starts, ends, lets)
    VALUES (keeps.rel, keeps.people, keeps.project, keeps.starts, coalesce(keeps.ends, keeps.starts), keeps.lets);
  EXECUTE format('CREATE TRIGGER keep_held BEFORE UPDATE ON %s FOR EACH ROW
    WHEN (current_user <> ''{app}_gate'') EXECUTE FUNCTION custody.keep_held()', rel);
  EXECUTE format('CREATE TRIGGER keep_held_row BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION custody.keep_held()', rel);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER keep_held, ENABLE ALWAYS TRIGGER keep_held_row', rel);
END $$;
SELECT custody.keeps('tenancy.members', people => '{id,artist_id}', lets => '{version,updated_at,ceiling,state,artist_id,
  valid_after,provider_role,provider_removed,provider_at_ms,provider_heard_at,name_at_ms,times_ended}');
CREATE TRIGGER keep_name BEFORE UPDATE ON tenancy.members FOR EACH ROW
  WHEN (current_user = '{app}_gate' AND OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION custody.keep_name();
ALTER TABLE tenancy.members ENABLE ALWAYS TRIGGER keep_name;
DO $keys$
DECLARE
  rel regclass;
BEGIN
  FOREACH rel IN ARRAY ARRAY['vault.studio_keys', 'vault.person_keys']::regclass[] LOOP
    EXECUTE format('CREATE TRIGGER keep_keys BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION custody.keep_keys()', rel);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER keep_keys', rel);
  END LOOP;
END $keys$;
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_digest;
