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
  ticket bigint,
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
-- Not the ticket: its numbers are those of all studios, and would tell how busy the others are.
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

-- Writes entries and lets them wait for their numbers. Whoever calls it has checked them.
CREATE FUNCTION ledger.write(entries text[], macs bytea[], tickets bigint[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  written integer;
BEGIN
  WITH added AS (
    INSERT INTO ledger.entries (tenant_id, entry_id, at, ticket, leaf)
      SELECT (e ->> 'tenant')::uuid, (e ->> 'id')::uuid, (e ->> 'time')::timestamptz, ticket,
        '{"changes":[],"entry":' || entry || ',"mac":' || coalesce('"' || encode(mac, 'hex') || '"', 'null') || '}'
      FROM (SELECT u.*, u.entry::jsonb AS e FROM unnest(entries, macs, tickets) u(entry, mac, ticket)) parsed
      ON CONFLICT DO NOTHING
      RETURNING tenant_id, entry_id, at, leaf
  )
  INSERT INTO ledger.waiting (tenant_id, entry_id, at, hash)
    SELECT tenant_id, entry_id, at, sha256('\x00'::bytea || convert_to(leaf, 'UTF8')) FROM added;
  GET DIAGNOSTICS written = ROW_COUNT;
  RETURN written;
END $$;

-- Appends entries: each a canonical JSON text with the HMAC of `ledger2|`, the ticket, `|` and that
-- very text. The text is parsed only after its HMAC was found right.
CREATE FUNCTION ledger.append(entries text[], macs bytea[], tickets bigint[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF cardinality(entries) IS DISTINCT FROM cardinality(macs) OR cardinality(entries) IS DISTINCT FROM cardinality(tickets)
     OR cardinality(entries) > 1000 THEN
    RAISE EXCEPTION 'ledger batch malformed' USING ERRCODE = 'ZT020';
  END IF;
  -- Any key of the ring may have signed: an entry queued before a rotation is still good.
  IF EXISTS (
    SELECT FROM unnest(entries, macs, tickets) u(entry, mac, ticket)
    WHERE NOT EXISTS (SELECT FROM ledger.keys k WHERE
      sha256(k.opad || sha256(k.ipad || convert_to('ledger2|' || coalesce(u.ticket::text, '') || '|' || u.entry, 'UTF8')))
        IS NOT DISTINCT FROM u.mac)
  ) THEN
    RAISE EXCEPTION 'ledger entry forged' USING ERRCODE = 'ZT021';
  END IF;
  RETURN ledger.write(entries, macs, tickets);
END $$;
GRANT EXECUTE ON FUNCTION ledger.append(text[], bytea[], bigint[]) TO {app}_app;

-- Writes an entry that the database makes itself, hence without an HMAC of the server.
CREATE FUNCTION ledger.write_own(tenant uuid, body jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry uuid := gen_random_uuid();
BEGIN
  PERFORM ledger.write(ARRAY[ledger.canonical(body || jsonb_build_object('tenant', tenant, 'id', entry, 'request_id', entry,
    'time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))],
    ARRAY[NULL::bytea], ARRAY[NULL::bigint]);
END $$;

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
