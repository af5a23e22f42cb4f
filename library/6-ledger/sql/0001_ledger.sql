-- The ledger: one entry a request, written through functions that check who speaks.
-- The app role has no INSERT; what it appends carries the server's HMAC (key ring `ledger`), so SQL
-- that is run as the app role can forge no entry, of its own studio or another.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO {app}_app, {app}_ledger, {app}_gate, {app}_digest;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;

-- entry_id is the request's id and exists before the write: a retried append changes nothing.
CREATE TABLE ledger.entries (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  entry_id uuid NOT NULL,
  at timestamptz NOT NULL,
  -- The numbers that `enter` drew for it: one for each time that it was tried.
  tickets bigint[] NOT NULL,
  -- What is hashed, to the letter: {"changes", "entry", "mac"} as docs/formats/ledger.md says.
  leaf text NOT NULL,
  -- The same, for questions. Made from the leaf, so that it cannot say anything else.
  body jsonb NOT NULL GENERATED ALWAYS AS (leaf::jsonb -> 'entry') STORED,
  PRIMARY KEY (tenant_id, entry_id)
);
ALTER TABLE ledger.entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY ledger_see ON ledger.entries FOR SELECT TO {app}_ledger USING (true);
CREATE POLICY ledger_add ON ledger.entries FOR INSERT TO {app}_ledger WITH CHECK (true);
GRANT SELECT, INSERT ON ledger.entries TO {app}_ledger;
-- A studio's owner reads the studio's own entries, nobody else any.
CREATE POLICY wall ON ledger.entries AS RESTRICTIVE TO {app}_app USING (tenant_id = (SELECT tenancy.tenant_id()));
CREATE POLICY see ON ledger.entries FOR SELECT TO {app}_app USING ((SELECT tenancy.role()) = 'owner');
CREATE POLICY digest ON ledger.entries FOR SELECT TO {app}_digest USING (true);
-- Not the tickets: their numbers are those of all studios, and would tell how busy the others are.
GRANT SELECT (tenant_id, entry_id, at, leaf, body) ON ledger.entries TO {app}_app;
GRANT SELECT ON ledger.entries TO {app}_digest;

-- Entries that have no number yet. They get it when they are checkpointed, not in the request: a
-- counter would make the requests of one studio wait for each other.
CREATE TABLE ledger.waiting (
  tenant_id uuid NOT NULL,
  entry_id uuid NOT NULL,
  at timestamptz NOT NULL,
  -- Of the leaf, as RFC 6962 hashes one.
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant_id, entry_id)
);
ALTER TABLE ledger.waiting ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY ledger_see ON ledger.waiting FOR SELECT TO {app}_ledger USING (true);
CREATE POLICY ledger_add ON ledger.waiting FOR INSERT TO {app}_ledger WITH CHECK (true);
GRANT SELECT, INSERT ON ledger.waiting TO {app}_ledger;

-- What a transaction that is not yet committed has changed, until an entry takes it.
CREATE UNLOGGED TABLE ledger.changes (
  tenant_id uuid NOT NULL,
  xact xid8 NOT NULL,
  n bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  changed text NOT NULL,
  id uuid,
  columns text[] NOT NULL,
  PRIMARY KEY (tenant_id, xact, n)
);
ALTER TABLE ledger.changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY ledger ON ledger.changes TO {app}_ledger USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON ledger.changes TO {app}_ledger;

-- For the comparison of tickets with entries.
SET LOCAL ROLE {app}_gate;
GRANT SELECT ON SEQUENCE tenancy.ticket TO {app}_ledger;

SET LOCAL ROLE {app}_ledger;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_ledger REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE ledger.keys (
  id smallint PRIMARY KEY,
  ipad bytea NOT NULL CHECK (length(ipad) = 64),
  opad bytea NOT NULL CHECK (length(opad) = 64)
);

-- Canonical JSON (RFC 8785) of a value whose numbers are integers and whose names are ASCII.
CREATE FUNCTION ledger.canonical(value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE jsonb_typeof(value)
    WHEN 'object' THEN (
      SELECT '{' || coalesce(string_agg(to_json(m.key) || ':' || ledger.canonical(m.value), ',' ORDER BY m.key COLLATE "C"), '') || '}'
      FROM jsonb_each(canonical.value) m)
    WHEN 'array' THEN (
      SELECT '[' || coalesce(string_agg(ledger.canonical(i.value), ',' ORDER BY i.n), '') || ']'
      FROM jsonb_array_elements(canonical.value) WITH ORDINALITY i(value, n))
    ELSE value::text
  END;
END $$;

-- Takes what this transaction has changed in a studio since it was last taken, as JSON: the first 200
-- rows with the names of their columns, never a value.
CREATE FUNCTION ledger.take_changes(tenant uuid) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  changes text := '[]';
BEGIN
  IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
    WITH taken AS (
      DELETE FROM ledger.changes c WHERE c.tenant_id = tenant AND c.xact = pg_current_xact_id_if_assigned() RETURNING c.*
    ), first AS (SELECT t.* FROM taken t ORDER BY t.n LIMIT 200)
    SELECT '[' || coalesce(string_agg(ledger.canonical(jsonb_build_object('table', f.changed, 'id', f.id, 'columns', f.columns)), ',' ORDER BY f.n), '') || ']'
      INTO changes FROM first f;
  END IF;
  RETURN changes;
END $$;

-- Writes entries and lets them wait for their numbers. Whoever calls it has checked them. `changes` is
-- of the first one.
CREATE FUNCTION ledger.write(entries text[], macs bytea[], tickets text[], changes text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  written integer;
BEGIN
  WITH added AS (
    INSERT INTO ledger.entries (tenant_id, entry_id, at, tickets, leaf)
      SELECT (e ->> 'tenant')::uuid, (e ->> 'id')::uuid, (e ->> 'time')::timestamptz, string_to_array(drawn, ',')::bigint[],
        '{"changes":' || CASE n WHEN 1 THEN changes ELSE '[]' END || ',"entry":' || entry
          || ',"mac":' || coalesce('"' || encode(mac, 'hex') || '"', 'null') || '}'
      FROM (SELECT u.*, u.entry::jsonb AS e FROM unnest(entries, macs, tickets) WITH ORDINALITY u(entry, mac, drawn, n)
        -- Without it each use of it would parse it anew.
        OFFSET 0) parsed
      ON CONFLICT DO NOTHING
      RETURNING tenant_id, entry_id, at, leaf
  )
  INSERT INTO ledger.waiting (tenant_id, entry_id, at, hash)
    SELECT tenant_id, entry_id, at, sha256('\x00'::bytea || convert_to(leaf, 'UTF8')) FROM added;
  GET DIAGNOSTICS written = ROW_COUNT;
  RETURN written;
END $$;

-- Appends entries: each a canonical JSON text with the HMAC of `ledger2|`, its tickets with commas, `|`
-- and that very text. The text is parsed only after its HMAC was found right. An entry that comes alone
-- takes what its transaction has changed.
CREATE FUNCTION ledger.append(entries text[], macs bytea[], tickets text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF cardinality(entries) IS DISTINCT FROM cardinality(macs) OR cardinality(entries) IS DISTINCT FROM cardinality(tickets)
     OR cardinality(entries) > 1000 THEN
    RAISE EXCEPTION 'ledger batch malformed' USING ERRCODE = 'ZT020';
  END IF;
  -- Any key of the ring may have signed: an entry queued before a rotation is still good.
  IF EXISTS (
    SELECT FROM unnest(entries, macs, tickets) u(entry, mac, drawn)
    WHERE NOT EXISTS (SELECT FROM ledger.keys k WHERE
      sha256(k.opad || sha256(k.ipad || convert_to('ledger2|' || u.drawn || '|' || u.entry, 'UTF8'))) IS NOT DISTINCT FROM u.mac)
  ) THEN
    RAISE EXCEPTION 'ledger entry forged' USING ERRCODE = 'ZT021';
  END IF;
  RETURN ledger.write(entries, macs, tickets, CASE cardinality(entries)
    WHEN 1 THEN ledger.take_changes((entries[1]::jsonb ->> 'tenant')::uuid) ELSE '[]' END);
END $$;
GRANT EXECUTE ON FUNCTION ledger.append(text[], bytea[], text[]) TO {app}_app;

-- Writes an entry that the database makes itself, hence without an HMAC of the server.
CREATE FUNCTION ledger.write_own(tenant uuid, body jsonb, changes text DEFAULT '[]') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry uuid := gen_random_uuid();
BEGIN
  PERFORM ledger.write(ARRAY[ledger.canonical(body || jsonb_build_object('tenant', tenant, 'id', entry, 'request_id', entry,
    'time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))],
    ARRAY[NULL::bytea], ARRAY[''], changes);
END $$;

-- Notes a change of a row: the trigger of every table that tenancy.protect() was called for; its
-- argument is the column that names the row. A superuser's are not noted: whoever is one could take
-- the trigger away.
CREATE FUNCTION ledger.capture() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  before jsonb := CASE TG_OP WHEN 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
  after jsonb := CASE TG_OP WHEN 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
  row_now jsonb := before || after;
BEGIN
  IF session_user NOT IN ('{app}_app', '{app}_migrate') THEN RETURN NULL; END IF;
  -- What a new studio is made of is told by the entry of its making.
  IF tenancy.tenant_id() IS NULL AND tenancy.is_being_made((row_now ->> 'tenant_id')::uuid) THEN RETURN NULL; END IF;
  -- A statement can shed its context (UPDATE … RETURNING set_config(…)) before its triggers run.
  IF session_user = '{app}_app' AND tenancy.tenant_id() IS DISTINCT FROM (row_now ->> 'tenant_id')::uuid THEN
    RAISE EXCEPTION 'the context is not the one that was entered' USING ERRCODE = 'ZT023';
  END IF;
  INSERT INTO ledger.changes (tenant_id, xact, changed, id, columns)
    VALUES ((row_now ->> 'tenant_id')::uuid, pg_current_xact_id(), TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, (row_now ->> TG_ARGV[0])::uuid,
      ARRAY(SELECT m.key FROM jsonb_each(after) m
        WHERE m.value IS DISTINCT FROM coalesce(before -> m.key, 'null') AND m.key <> 'tenant_id' ORDER BY m.key COLLATE "C"));
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION ledger.capture() TO {app}_owner;

-- At commit: what no entry has taken is an entry of its own.
CREATE FUNCTION ledger.account() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  by_app boolean := session_user = '{app}_app';
BEGIN
  IF EXISTS (SELECT FROM ledger.changes c WHERE c.tenant_id = NEW.tenant_id AND c.xact = NEW.xact AND c.n = NEW.n) THEN
    PERFORM ledger.write_own(NEW.tenant_id, jsonb_build_object(
      'actor', CASE WHEN by_app THEN 'member:' || coalesce(tenancy.actor(), '') ELSE 'operator:' || session_user END,
      'role', CASE WHEN by_app THEN coalesce(tenancy.role(), '') ELSE 'operator' END,
      'action', CASE WHEN by_app THEN 'database.change' ELSE 'database.migrate' END, 'resource', 'database',
      'rule', CASE WHEN by_app THEN 'unaccounted' END, 'ids', '[]'::jsonb, 'ids_count', 0,
      'outcome', 'allowed', 'status', 200), ledger.take_changes(NEW.tenant_id));
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION ledger.account() TO {app}_owner;

-- An entry about what an operator did, in the operator's own transaction. The login is the identity.
CREATE FUNCTION ledger.note(tenant uuid, action text, resource text, ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM ledger.write_own(tenant, jsonb_build_object(
    'actor', 'operator:' || session_user, 'role', 'operator', 'action', action, 'resource', resource,
    'ids', to_jsonb(ids), 'ids_count', cardinality(ids), 'outcome', 'allowed', 'status', 200));
END $$;
GRANT EXECUTE ON FUNCTION ledger.note(uuid, text, text, uuid[]) TO {app}_gate;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
CREATE CONSTRAINT TRIGGER accounted AFTER INSERT ON ledger.changes DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION ledger.account();
ALTER TABLE ledger.changes ENABLE ALWAYS TRIGGER accounted;
