-- How a member stands without a context, for what the gate tells of nothing but that: whether a stream
-- that is open may stay so. Data is read in a bound transaction, where `enter` looks again.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- No row for whom `enter` would refuse: by the studio's status, the membership, the session, the role.
-- Called by functions of the gate that have verified who asks; granted to nobody.
CREATE FUNCTION tenancy.standing_of(organization text, subject text, session text, claimed text, issued_s bigint)
RETURNS TABLE (tenant uuid, artist uuid, sees_all boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
  RETURN QUERY SELECT s.tenant_id, m.artist_id, least(tenancy.rank(claimed), tenancy.standing(m)) > 1
    FROM tenancy.studios s JOIN tenancy.members m ON m.tenant_id = s.tenant_id
    WHERE s.organization = standing_of.organization AND m.subject = standing_of.subject AND s.status = 'active'
      AND least(tenancy.rank(claimed), tenancy.standing(m)) > 0 AND to_timestamp(issued_s) >= m.valid_after
      AND NOT EXISTS (SELECT FROM tenancy.sessions v WHERE v.session = standing_of.session
        AND (v.subject <> standing_of.subject OR v.ended_at IS NOT NULL))
      AND NOT EXISTS (SELECT FROM tenancy.isolations i WHERE i.tenant_id = m.tenant_id
        AND (i.member_id = m.id OR i.session = standing_of.session) AND i.ended_at IS NULL);
END $$;

SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
