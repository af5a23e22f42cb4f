-- What was answered to a request that carried a key, so that the same request, sent again, has no second
-- effect. Kept in the effect's own transaction, hence exactly when there is an effect. Keys and requests
-- are here by their digests, answers sealed: the database can read none of them.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

CREATE TABLE tenancy.answers (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  -- Member and standing are the context's own: a key is nothing without who sent it, and an answer
  -- was made for one role and one artist.
  actor text NOT NULL,
  standing text NOT NULL,
  key bytea NOT NULL CHECK (length(key) = 32),
  request bytea NOT NULL CHECK (length(request) = 32),
  id uuid NOT NULL,
  sealed bytea NOT NULL CHECK (length(sealed) <= 1100000),
  kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, actor, key)
);
CREATE INDEX answers_by_age ON tenancy.answers (tenant_id, kept_at);
ALTER TABLE tenancy.answers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.answers ALTER sealed SET STATISTICS 0, ALTER key SET STATISTICS 0, ALTER request SET STATISTICS 0;
CREATE POLICY gate ON tenancy.answers TO {app}_gate
  USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()));
CREATE POLICY digest ON tenancy.answers FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (standing, request, id, sealed, kept_at) ON tenancy.answers TO {app}_gate;
GRANT SELECT (tenant_id) ON tenancy.answers TO {app}_digest;

-- How often the membership has ended, here or at the identity provider: who is let in again is not whom
-- the answers from before were made for.
ALTER TABLE tenancy.members ADD times_ended integer NOT NULL DEFAULT 0;

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION tenancy.count_the_end() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  NEW.times_ended := OLD.times_ended + 1;
  RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.count_the_end() TO {app}_owner;

-- For whom an answer is made: one membership, one role, one artist. A service has no membership.
CREATE FUNCTION tenancy.standing_now() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
  SELECT concat_ws('|', coalesce((SELECT m.times_ended FROM tenancy.members m
    WHERE m.tenant_id = tenancy.tenant_id() AND m.id::text = tenancy.actor()), 0), tenancy.role(), tenancy.artist_id())
$$;

-- Takes a key for this transaction, or says what came of it before:
--   in flight   another transaction has it
--   new         it is this transaction's until its end
--   other       it was used for another request
--   changed     the member's role or artist is another than when it was answered, or the membership has
--               ended since
--   done        with what was answered, and under which id it was sealed
CREATE FUNCTION tenancy.claim_key(new_key bytea, new_request bytea, OUT outcome text, OUT id uuid, OUT sealed bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  kept record;
BEGIN
  IF tenancy.tenant_id() IS NULL THEN RAISE EXCEPTION 'no context' USING ERRCODE = 'ZT018'; END IF;
  -- The try form, never waiting. Keyed, so that nobody can compute another's lock.
  IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(tenancy.hmac('seal', 1::smallint,
      concat_ws('|', 'key', tenancy.tenant_id(), tenancy.actor(), encode(new_key, 'hex'))), 1, 8), 'hex'))::bit(64)::bigint) THEN
    outcome := 'in flight';
    RETURN;
  END IF;
  -- A new statement has a new snapshot, taken after the lock.
  SELECT a.* INTO kept FROM tenancy.answers a
    WHERE a.tenant_id = tenancy.tenant_id() AND a.actor = tenancy.actor() AND a.key = new_key
      AND a.kept_at > clock_timestamp() - interval '24 hours';
  outcome := CASE
    WHEN NOT FOUND THEN 'new'
    WHEN kept.request <> new_request THEN 'other'
    WHEN kept.standing <> tenancy.standing_now() THEN 'changed'
    ELSE 'done' END;
  IF outcome = 'done' THEN
    id := kept.id;
    sealed := kept.sealed;
  END IF;
END $$;

-- Keeps what is about to be answered. The place of an answer that is over is used again, and some that
-- are over for other keys of the studio are forgotten.
CREATE FUNCTION tenancy.keep_answer(new_key bytea, new_request bytea, new_id uuid, new_sealed bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  DELETE FROM tenancy.answers a WHERE (a.tenant_id, a.actor, a.key) IN (
    SELECT o.tenant_id, o.actor, o.key FROM tenancy.answers o
    WHERE o.tenant_id = tenancy.tenant_id() AND o.kept_at < clock_timestamp() - interval '24 hours'
      AND (o.actor, o.key) <> (tenancy.actor(), new_key)
    ORDER BY o.kept_at LIMIT 10 FOR UPDATE SKIP LOCKED);
  INSERT INTO tenancy.answers AS a (tenant_id, actor, standing, key, request, id, sealed)
    VALUES (tenancy.tenant_id(), tenancy.actor(), tenancy.standing_now(), new_key, new_request, new_id, new_sealed)
    ON CONFLICT (tenant_id, actor, key) DO UPDATE SET standing = excluded.standing, request = excluded.request,
      id = excluded.id, sealed = excluded.sealed, kept_at = excluded.kept_at
    WHERE a.kept_at <= clock_timestamp() - interval '24 hours';
  IF NOT FOUND THEN RAISE EXCEPTION 'the key is taken' USING ERRCODE = 'ZT019'; END IF;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.claim_key(bytea, bytea), tenancy.keep_answer(bytea, bytea, uuid, bytea) TO {app}_app;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER count_the_end BEFORE UPDATE ON tenancy.members FOR EACH ROW
  WHEN ((NEW.state = 'removed' OR NEW.provider_removed) AND NOT (OLD.state = 'removed' OR OLD.provider_removed))
  EXECUTE FUNCTION tenancy.count_the_end();
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
