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
  body jsonb NOT NULL,
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
GRANT SELECT (tenant_id, entry_id, at, body) ON ledger.entries TO {app}_app;
GRANT SELECT ON ledger.entries TO {app}_digest;

SET LOCAL ROLE {app}_ledger;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_ledger REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE ledger.keys (
  id smallint PRIMARY KEY,
  ipad bytea NOT NULL CHECK (length(ipad) = 64),
  opad bytea NOT NULL CHECK (length(opad) = 64)
);

-- Appends entries: each a JSON text {"tenant", "entry", "at", "ticket", "key", "body"} with the HMAC
-- of `ledger1|` and that very text. The text is parsed only after its HMAC was found right.
CREATE FUNCTION ledger.append(entries text[], macs bytea[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  appended integer;
BEGIN
  IF cardinality(entries) IS DISTINCT FROM cardinality(macs) OR cardinality(entries) > 1000 THEN
    RAISE EXCEPTION 'ledger batch malformed' USING ERRCODE = 'ZT020';
  END IF;
  -- Any key of the ring may have signed: an entry queued before a rotation is still good.
  IF EXISTS (
    SELECT FROM unnest(entries, macs) u(entry, mac)
    WHERE NOT EXISTS (SELECT FROM ledger.keys k WHERE
      sha256(k.opad || sha256(k.ipad || convert_to('ledger1|' || u.entry, 'UTF8'))) IS NOT DISTINCT FROM u.mac)
  ) THEN
    RAISE EXCEPTION 'ledger entry forged' USING ERRCODE = 'ZT021';
  END IF;
  INSERT INTO ledger.entries (tenant_id, entry_id, at, ticket, body)
    SELECT (e ->> 'tenant')::uuid, (e ->> 'entry')::uuid, (e ->> 'at')::timestamptz, (e ->> 'ticket')::bigint, e -> 'body'
    FROM (SELECT u.entry::jsonb AS e FROM unnest(entries) u(entry)) parsed
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS appended = ROW_COUNT;
  RETURN appended;
END $$;
GRANT EXECUTE ON FUNCTION ledger.append(text[], bytea[]) TO {app}_app;

-- An entry about what an operator did, in the operator's own transaction. The login is the identity.
CREATE FUNCTION ledger.note(tenant uuid, action text, resource text, ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  INSERT INTO ledger.entries (tenant_id, entry_id, at, ticket, body)
    VALUES (tenant, gen_random_uuid(), clock_timestamp(), NULL, jsonb_build_object(
      'actor', 'operator:' || session_user, 'role', 'operator', 'action', action, 'resource', resource,
      'ids', to_jsonb(ids), 'ids_count', cardinality(ids), 'outcome', 'allowed', 'status', 200));
END $$;
GRANT EXECUTE ON FUNCTION ledger.note(uuid, text, text, uuid[]) TO {app}_gate;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
