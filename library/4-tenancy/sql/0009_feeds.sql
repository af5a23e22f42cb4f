-- Feeds: secret addresses by which a calendar program reads for a member, without a session. Looked up
-- before the studio is known, hence the gate's alone. A feed reads with the role that its member has
-- when it is read, and ends for good with the membership.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

CREATE TABLE tenancy.feeds (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  -- 256 random bits behind it: no two are alike, and no unique index need span the studios.
  digest bytea NOT NULL CHECK (length(digest) = 32),
  member_id uuid NOT NULL,
  -- What it is about, as the product says; null is the member's own.
  about uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, member_id) REFERENCES tenancy.members
);
CREATE INDEX feeds_by_digest ON tenancy.feeds (digest);
CREATE INDEX feeds_of_member ON tenancy.feeds (tenant_id, member_id, created_at);
ALTER TABLE tenancy.feeds ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON tenancy.feeds TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON tenancy.feeds FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (ended_at) ON tenancy.feeds TO {app}_gate;
GRANT SELECT (tenant_id, member_id) ON tenancy.feeds TO {app}_digest;

SET LOCAL ROLE {app}_gate;
-- Opens one for whoever this transaction is bound to. Nothing of who that is comes from the caller, who
-- is a member with a session: a feed opens no feed. False, when the member has `most` already.
CREATE FUNCTION tenancy.open_feed(new_id uuid, new_digest bytea, about uuid, most integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  tenant uuid := tenancy.tenant_id();
  member uuid;
BEGIN
  IF tenant IS NULL OR tenancy.session() IS NULL THEN
    RAISE EXCEPTION 'only members have feeds' USING ERRCODE = 'ZT018';
  END IF;
  member := tenancy.actor()::uuid;
  -- One at a time, or two could each be the last.
  PERFORM FROM tenancy.members m WHERE m.tenant_id = tenant AND m.id = member FOR NO KEY UPDATE;
  -- What has been over for a month is forgotten.
  DELETE FROM tenancy.feeds v WHERE v.tenant_id = tenant AND v.member_id = member
    AND v.ended_at < clock_timestamp() - interval '30 days';
  IF (SELECT count(*) FROM tenancy.feeds v WHERE v.tenant_id = tenant AND v.member_id = member AND v.ended_at IS NULL)
     >= least(most, 100) THEN
    RETURN false;
  END IF;
  INSERT INTO tenancy.feeds (tenant_id, id, digest, member_id, about)
    VALUES (tenant, new_id, new_digest, member, open_feed.about);
  RETURN true;
END $$;

-- The live ones of whoever this transaction is bound to; `here` is the one with that digest.
CREATE FUNCTION tenancy.feeds_of_mine(here_digest bytea)
RETURNS TABLE (id uuid, about uuid, created_at timestamptz, here boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT v.id, v.about, v.created_at, coalesce(v.digest = here_digest, false) FROM tenancy.feeds v
    WHERE v.tenant_id = tenancy.tenant_id() AND v.member_id::text = tenancy.actor() AND v.ended_at IS NULL
    ORDER BY v.created_at DESC, v.id;
END $$;

-- Ends one of whoever this transaction is bound to. Gives whether there was one. A feed ends none.
CREATE FUNCTION tenancy.end_feed(which uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE tenancy.feeds v SET ended_at = clock_timestamp()
    WHERE v.tenant_id = tenancy.tenant_id() AND v.member_id::text = tenancy.actor() AND v.ended_at IS NULL
      AND v.id = which AND tenancy.session() IS NOT NULL;
  RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.open_feed(uuid, bytea, uuid, integer), tenancy.feeds_of_mine(bytea),
  tenancy.end_feed(uuid) TO {app}_app;

-- Whoever comes back to a studio makes new ones: an address that was given away stays dead.
CREATE FUNCTION tenancy.end_feeds_of() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE tenancy.feeds v SET ended_at = clock_timestamp()
    WHERE v.tenant_id = NEW.tenant_id AND v.member_id = NEW.id AND v.ended_at IS NULL;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.end_feeds_of() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER end_feeds AFTER UPDATE ON tenancy.members FOR EACH ROW
  WHEN (NEW.state = 'removed' OR NEW.provider_removed) EXECUTE FUNCTION tenancy.end_feeds_of();
ALTER TABLE tenancy.members ENABLE ALWAYS TRIGGER end_feeds;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
