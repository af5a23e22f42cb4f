-- Entries about what a service did without a request of anybody: what the identity provider told.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;

SET LOCAL ROLE {app}_ledger;
-- `cause` is what made it do so, such as the delivery of an event; it stands where a client's own
-- name of a request does.
CREATE FUNCTION ledger.note_service(tenant uuid, service text, cause text, action text, resource text, ids uuid[])
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM ledger.write_own(tenant, jsonb_build_object(
    'actor', 'service:' || service, 'role', 'service', 'client_request_id', cause,
    'action', action, 'resource', resource, 'ids', to_jsonb(ids), 'ids_count', cardinality(ids),
    'outcome', 'allowed', 'status', 200));
END $$;
GRANT EXECUTE ON FUNCTION ledger.note_service(uuid, text, text, text, text, uuid[]) TO {app}_gate;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
