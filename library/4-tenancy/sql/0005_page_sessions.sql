-- Sessions of the product's own pages: opened by a member whose token was just verified, ended by
-- that member, by the end of the provider's session, by removal, by freeze (see tenancy.enter).

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Opens one for whoever this transaction is bound to. Nothing of who that is comes from the caller.
CREATE FUNCTION tenancy.open_page_session(new_id uuid, new_digest bytea, client text, idle_s integer, life_s integer)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  tenant uuid := tenancy.tenant_id();
  member uuid;
BEGIN
  IF tenant IS NULL OR tenancy.session() IS NULL THEN
    RAISE EXCEPTION 'only members have page sessions' USING ERRCODE = 'ZT018';
  END IF;
  member := tenancy.actor()::uuid;
  -- At most twenty at once: the oldest goes. What has been over for a month is forgotten.
  UPDATE tenancy.page_sessions v SET ended_at = clock_timestamp()
    WHERE v.digest IN (SELECT o.digest FROM tenancy.page_sessions o
      WHERE o.tenant_id = tenant AND o.member_id = member AND o.ended_at IS NULL
      ORDER BY o.opened_at DESC OFFSET 19);
  DELETE FROM tenancy.page_sessions v WHERE v.tenant_id = tenant AND v.member_id = member
    AND least(v.ended_at, v.expires_at) < clock_timestamp() - interval '30 days';
  INSERT INTO tenancy.page_sessions (digest, id, tenant_id, member_id, session, claimed, issued_s, client, idle, expires_at)
    VALUES (new_digest, new_id, tenant, member, tenancy.session(), tenancy.claimed(), tenancy.issued_s(),
      left(open_page_session.client, 200), make_interval(secs => least(idle_s, 86400)),
      clock_timestamp() + make_interval(secs => least(life_s, 7 * 86400)));
END $$;

-- The live ones of whoever this transaction is bound to; `here` is the one with that digest.
CREATE FUNCTION tenancy.page_sessions_of_mine(here_digest bytea)
RETURNS TABLE (id uuid, opened_at timestamptz, seen_at timestamptz, expires_at timestamptz, client text, here boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT v.id, v.opened_at, v.seen_at, least(v.expires_at, v.seen_at + v.idle), v.client,
      coalesce(v.digest = here_digest, false)
    FROM tenancy.page_sessions v
    WHERE v.tenant_id = tenancy.tenant_id() AND v.member_id::text = tenancy.actor() AND v.ended_at IS NULL
      AND clock_timestamp() < least(v.expires_at, v.seen_at + v.idle)
    ORDER BY v.opened_at DESC, v.id;
END $$;

-- Ends one of whoever this transaction is bound to, by its id or its digest. Gives whether there was one.
CREATE FUNCTION tenancy.end_page_session(which uuid, with_digest bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE tenancy.page_sessions v SET ended_at = clock_timestamp()
    WHERE v.tenant_id = tenancy.tenant_id() AND v.member_id::text = tenancy.actor() AND v.ended_at IS NULL
      AND (v.id = which OR v.digest = with_digest);
  RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.open_page_session(uuid, bytea, text, integer, integer),
  tenancy.page_sessions_of_mine(bytea), tenancy.end_page_session(uuid, bytea) TO {app}_app;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
