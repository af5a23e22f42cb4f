-- Whom an incident is about, for the studio's owners: by it they ask their ledger what was touched.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA incident TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Nobody where it isolates the whole studio, or nothing: then it is about everybody. `members` are the same people as the
-- database knows them, `member:ID`, in what it notes itself; by `digests` the names of those who were erased are found in entries. Nothing for whoever is no owner.
CREATE FUNCTION incident.whom(which uuid)
RETURNS TABLE (tenant_id uuid, opened_at timestamptz, actors text[], members text[], digests text[], addresses text[], has_session boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  studio uuid := tenancy.tenant_id();
BEGIN
  IF tenancy.role() IS DISTINCT FROM 'owner' THEN RETURN; END IF;
  RETURN QUERY SELECT studio, i.opened_at,
      CASE WHEN v.is_all THEN '{}' ELSE v.actors END, CASE WHEN v.is_all THEN '{}' ELSE incident.members_of(studio, v.actors) END,
      CASE WHEN v.is_all THEN '{}' ELSE v.digests END, CASE WHEN v.is_all THEN '{}' ELSE v.addresses END, v.has_session AND NOT v.is_all
    FROM incident.incidents i, LATERAL (
      SELECT coalesce(bool_or(num_nonnulls(o.member_id, o.session, o.address) = 0), true) AS is_all,
        coalesce(array_agg(DISTINCT o.subject) FILTER (WHERE o.subject IS NOT NULL), '{}') AS actors,
        coalesce(array_agg(DISTINCT o.subject_digest) FILTER (WHERE o.subject_digest IS NOT NULL), '{}') AS digests,
        coalesce(array_agg(DISTINCT o.address) FILTER (WHERE o.address IS NOT NULL), '{}') AS addresses,
        coalesce(bool_or(o.session IS NOT NULL), false) AS has_session
      FROM tenancy.isolations o WHERE o.tenant_id = studio AND o.cause = i.id) v
    WHERE i.tenant_id = studio AND i.id = which;
END $$;
GRANT EXECUTE ON FUNCTION incident.whom(uuid) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA incident FROM {app}_gate;

-- Whoever is erased leaves no name at Clerk's in alerts and in what was isolated either: the member's id stands there, for an
-- isolation of nobody is one of the whole studio. The ledger keeps that name as long as itself: by its digest it is found there.
SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;
CREATE POLICY gate ON studio.alerts TO {app}_gate USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, id, subject, opened_at), UPDATE (subject) ON studio.alerts TO {app}_gate;
GRANT UPDATE (subject, subject_digest) ON tenancy.isolations TO {app}_gate;

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION studio.forget_subject() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE studio.alerts a SET subject = 'erased:' || NEW.id WHERE a.tenant_id = NEW.tenant_id AND a.subject = OLD.subject;
  UPDATE tenancy.isolations i SET subject = 'erased:' || NEW.id, subject_digest = encode(sha256(convert_to(OLD.subject, 'UTF8')), 'hex')
    WHERE i.tenant_id = NEW.tenant_id AND i.subject = OLD.subject;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION studio.forget_subject() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
CREATE TRIGGER forget_subject AFTER UPDATE ON tenancy.members FOR EACH ROW
  WHEN (OLD.subject IS NOT NULL AND NEW.subject IS NULL) EXECUTE FUNCTION studio.forget_subject();
ALTER TABLE tenancy.members ENABLE ALWAYS TRIGGER forget_subject;

-- Owners open incidents and say what was done, too. A member's id stands for them: it is nobody's name.
SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA incident TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- The alerts about whoever an incident isolates, the newest fifty.
CREATE FUNCTION incident.alerts_of(tenant uuid, which uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT coalesce(jsonb_agg(n.id), '[]') FROM (SELECT a.id FROM studio.alerts a WHERE a.tenant_id = tenant AND a.subject IN (
    SELECT v.subject FROM tenancy.isolations v WHERE v.tenant_id = tenant AND v.cause = which) ORDER BY a.opened_at DESC, a.id LIMIT 50) n);
END $$;

-- Refuses whoever is no owner of that studio, or only reads. Gives who it is.
CREATE FUNCTION incident.expect_owner(tenant text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant::uuid IS DISTINCT FROM tenancy.tenant_id() OR tenancy.role() IS DISTINCT FROM 'owner' OR tenancy.writes() IS NOT TRUE THEN
    RAISE EXCEPTION 'no owner of this studio' USING ERRCODE = 'ZT018';
  END IF;
  RETURN 'member:' || tenancy.actor();
END $$;

-- i7|key|tenant|id|kind|reason, in hexadecimal|expires at|nonce|mac: an owner opens one. An operator confirms it.
CREATE FUNCTION incident.report_mine(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i7', 9);
  owner text := incident.expect_owner(p[3]);
BEGIN
  IF (SELECT count(*) FROM incident.incidents i WHERE i.tenant_id = p[3]::uuid AND i.closed_at IS NULL) >= 50 THEN
    PERFORM incident.refuse('incidents_most');
  END IF;
  INSERT INTO incident.incidents (tenant_id, id, kind, reason, is_emergency, opened_by)
    VALUES (p[3]::uuid, p[4]::uuid, p[5], convert_from(decode(p[6], 'hex'), 'UTF8'), false, owner);
END $$;

-- i8|key|tenant|incident|step|note, in hexadecimal|expires at|nonce|mac: an owner says that a step was done.
CREATE FUNCTION incident.note_step_mine(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i8', 9);
  owner text := incident.expect_owner(p[3]);
BEGIN
  PERFORM incident.take(p[3]::uuid, p[4]::uuid);
  INSERT INTO incident.steps (tenant_id, incident_id, name, by, note)
    VALUES (p[3]::uuid, p[4]::uuid, p[5], owner, convert_from(decode(p[6], 'hex'), 'UTF8'));
END $$;
GRANT EXECUTE ON FUNCTION incident.report_mine(text), incident.note_step_mine(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA incident FROM {app}_gate;
