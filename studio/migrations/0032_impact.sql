-- What an incident touched, in numbers, for operators: from the ledger, without an id of anything. And incidents for
-- the studio's owners.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA ledger TO {app}_ledger;
GRANT CREATE ON SCHEMA incident TO {app}_gate;

SET LOCAL ROLE {app}_ledger;
-- What people are called in the entries of a window, of whom nothing else has the name any more: by its SHA-256. As whoever asks: an owner
-- sees the own studio's.
CREATE FUNCTION ledger.names_in(tenant uuid, first timestamptz, last timestamptz, digests text[]) RETURNS TABLE (tenant_id uuid, name text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF cardinality(digests) = 0 THEN RETURN; END IF;
  RETURN QUERY SELECT DISTINCT t.tenant_id, n.name FROM ledger.entries t CROSS JOIN LATERAL (VALUES (t.body ->> 'actor'), (t.body ->> 'acted_by')) n (name)
    WHERE t.tenant_id = tenant AND t.at BETWEEN first AND last AND encode(sha256(convert_to(n.name, 'UTF8')), 'hex') = ANY (digests);
END $$;

-- What these actors, or requests from these addresses, did in a window: in numbers, and which records; of all where none is named. Its
-- entries are gone over once, however much is asked of them.
CREATE FUNCTION ledger.touched(tenant uuid, first timestamptz, last timestamptz, actors text[], digests text[], addresses text[], OUT numbers jsonb, OUT ids uuid[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  names text[] := actors || ARRAY(SELECT n.name FROM ledger.names_in(tenant, first, last, digests) n);
  is_all boolean := cardinality(actors) + cardinality(addresses) = 0;
BEGIN
  WITH e AS (
    SELECT t.body, t.leaf FROM ledger.entries t WHERE t.tenant_id = tenant AND t.at BETWEEN first AND last
      AND t.body ->> 'role' NOT IN ('operator', 'service')
      AND (is_all OR t.body ->> 'actor' = ANY (names) OR t.body ->> 'acted_by' = ANY (names) OR t.body ->> 'address' = ANY (addresses))
  ), r AS (
    SELECT i.id, f.body FROM e f CROSS JOIN jsonb_array_elements_text(f.body -> 'ids') i (id) WHERE f.body ->> 'outcome' = 'allowed'
    -- What no request accounts for stands in the changes alone.
    UNION ALL SELECT c ->> 'id', f.body FROM e f CROSS JOIN jsonb_array_elements(f.leaf::jsonb -> 'changes') c
      WHERE f.body ->> 'action' = 'database.change' AND c ->> 'id' IS NOT NULL
  ), d AS (SELECT DISTINCT r.id FROM r) SELECT jsonb_build_object(
    'requests', count(*),
    'refused', count(*) FILTER (WHERE e.body ->> 'outcome' <> 'allowed'),
    'changes', coalesce(sum(jsonb_array_length(e.leaf::jsonb -> 'changes')) FILTER (WHERE NOT starts_with(e.leaf, '{"changes":[]')), 0),
    'actors', count(DISTINCT e.body ->> 'actor'),
    'addresses', count(DISTINCT e.body ->> 'address'),
    'records', (SELECT count(*) FROM d),
    'opened', (SELECT count(DISTINCT (r.id, o.field)) FROM r CROSS JOIN jsonb_array_elements_text(r.body -> 'opened') o (field)),
    -- An entry names a hundred rows; of more it has the number and a digest.
    'unlisted', coalesce(sum((e.body ->> 'ids_count')::bigint - jsonb_array_length(e.body -> 'ids')), 0)),
    ARRAY(SELECT d.id::uuid FROM d WHERE CASE WHEN d.id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN true END)
    INTO numbers, ids FROM e;
END $$;
GRANT EXECUTE ON FUNCTION ledger.names_in(uuid, timestamptz, timestamptz, text[]) TO {app}_app;
GRANT EXECUTE ON FUNCTION ledger.touched(uuid, timestamptz, timestamptz, text[], text[], text[]) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Those of Clerk's names that are members of the studio, erased ones too, as the ledger has them in what the database notes by itself.
CREATE FUNCTION incident.members_of(tenant uuid, subjects text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ARRAY(SELECT 'member:' || m.id FROM tenancy.members m WHERE m.tenant_id = tenant AND (m.subject = ANY (subjects) OR 'erased:' || m.id = ANY (subjects)));
END $$;

-- Whom an incident isolates; nobody, hence everybody, where it isolates the studio or nobody.
CREATE FUNCTION incident.about(tenant uuid, which uuid, OUT actors text[], OUT digests text[], OUT addresses text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  SELECT array_agg(v.subject) FILTER (WHERE v.subject IS NOT NULL), array_agg(v.subject_digest) FILTER (WHERE v.subject_digest IS NOT NULL),
      array_agg(v.address) FILTER (WHERE v.address IS NOT NULL)
    INTO actors, digests, addresses FROM tenancy.isolations v WHERE v.tenant_id = tenant AND v.cause = which
    HAVING NOT coalesce(bool_or(num_nonnulls(v.member_id, v.session, v.address) = 0), true);
  actors := coalesce(actors || incident.members_of(tenant, actors), '{}');
  digests := coalesce(digests, '{}');
  addresses := coalesce(addresses, '{}');
END $$;

-- The same of whoever an incident isolates, or of everybody where it isolates the studio or nobody. Of whole hours, and
-- as long as the incident is dealt with: window by window it would tell one request from the next.
CREATE FUNCTION incident.impact(tenant uuid, which uuid, first timestamptz, last timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents;
  since timestamptz := date_trunc('hour', first);
  until timestamptz := date_trunc('hour', last) + interval '1 hour' - interval '1 microsecond';
  about record;
BEGIN
  SELECT * INTO it FROM incident.incidents i WHERE i.tenant_id = tenant AND i.id = which;
  IF NOT FOUND THEN PERFORM incident.refuse('incidents_unknown'); END IF;
  IF it.confirmed_at IS NULL AND NOT it.is_emergency THEN PERFORM incident.refuse('incidents_unconfirmed'); END IF;
  IF it.closed_at < clock_timestamp() - interval '90 days' THEN PERFORM incident.refuse('incidents_closed'); END IF;
  PERFORM ledger.note_because(tenant, 'numbers of ' || since || ' to ' || until, 'incident.impact', 'incident', ARRAY[which]);
  SELECT * INTO about FROM incident.about(tenant, which);
  RETURN (SELECT t.numbers FROM ledger.touched(tenant, since, until, about.actors, about.digests, about.addresses) t);
END $$;
GRANT EXECUTE ON FUNCTION incident.impact(uuid, uuid, timestamptz, timestamptz) TO {app}_ops;

-- The same for the studio's owners, one or the newest hundred, with the alerts about whoever is isolated.
CREATE FUNCTION incident.of_mine(which uuid DEFAULT NULL) RETURNS TABLE (tenant_id uuid, it jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF tenancy.role() IS DISTINCT FROM 'owner' THEN RETURN; END IF;
  RETURN QUERY SELECT tenancy.tenant_id(), v || jsonb_build_object('alerts', incident.alerts_of(tenancy.tenant_id(), (v ->> 'id')::uuid))
    FROM jsonb_array_elements(incident.describe(tenancy.tenant_id(), which)) v ORDER BY v ->> 'opened_at' DESC LIMIT 100;
END $$;
GRANT EXECUTE ON FUNCTION incident.of_mine(uuid) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA ledger FROM {app}_ledger;
REVOKE CREATE ON SCHEMA incident FROM {app}_gate;
