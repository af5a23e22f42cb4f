-- Closing a studio: an owner asks for it, thirty days later its keys are destroyed and its rows go. An owner may
-- take it back until then. So is one whose organization the identity provider deleted. Its ledger stays for as
-- long as ledgers do, and its row as a number that says nothing.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA custody TO {app}_custody, {app}_gate;

-- The tables of a studio, in the order in which their rows go; `shreds` fills it.
CREATE TABLE custody.shredded (
  -- What refers to others goes before them.
  step integer PRIMARY KEY,
  rel regclass NOT NULL UNIQUE,
  -- Which rows `t` nothing of the same table refers to.
  is_free text NOT NULL,
  -- So many go at once, at most: of large ones fewer.
  most integer NOT NULL
);
GRANT SELECT ON custody.shredded TO {app}_custody, {app}_gate;
-- What proves that a studio is gone, for operators: nobody of it is left.
CREATE TABLE custody.receipts (
  tenant_id uuid PRIMARY KEY REFERENCES tenancy.studios,
  -- A signed note.
  note text NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE custody.receipts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON custody.receipts AS RESTRICTIVE TO {app}_app USING (false) WITH CHECK (false);
CREATE POLICY gate ON custody.receipts TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON custody.receipts FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT ON custody.receipts TO {app}_gate;
GRANT SELECT ON custody.receipts TO {app}_digest;
GRANT UPDATE (closes_at, organization) ON tenancy.studios TO {app}_gate;

-- What a migration calls for each table with a studio's rows, after `entrust` for it.
CREATE FUNCTION custody.shreds(step integer, rel regclass, is_free text DEFAULT 'true', most integer DEFAULT 1000) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO custody.shredded VALUES (shreds.step, shreds.rel, shreds.is_free, shreds.most);
  EXECUTE format('CREATE TRIGGER keep_closed BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION custody.keep_closed()', rel);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER keep_closed', rel);
END $$;

SET LOCAL ROLE {app}_custody;
-- How many rows a studio has, by table, in the order in which they go; the keys first.
CREATE FUNCTION custody.count_rows(tenant uuid) RETURNS TABLE (place text, many bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  s custody.shredded;
BEGIN
  FOR s IN SELECT * FROM custody.shredded t ORDER BY t.step LOOP
    place := s.rel::text;
    EXECUTE format('SELECT count(*) FROM %s t WHERE t.tenant_id = $1', s.rel) INTO many USING tenant;
    RETURN NEXT;
  END LOOP;
END $$;

-- Removes some of a studio's rows: of the first table that has any.
CREATE FUNCTION custody.shred_rows(tenant uuid, most integer) RETURNS TABLE (place text, many bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  s custody.shredded;
BEGIN
  FOR s IN SELECT * FROM custody.shredded t ORDER BY t.step LOOP
    EXECUTE format('DELETE FROM %s d WHERE d.tenant_id = $1 AND d.ctid = ANY (ARRAY(SELECT t.ctid FROM %s t WHERE t.tenant_id = $1 AND (%s) LIMIT $2))',
      s.rel, s.rel, s.is_free) USING tenant, least(most, s.most);
    GET DIAGNOSTICS many = ROW_COUNT;
    place := s.rel::text;
    IF many > 0 THEN RETURN NEXT; RETURN; END IF;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION custody.count_rows(uuid), custody.shred_rows(uuid, integer) TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- g1|key|tenant|close, stay or plan|expires at|nonce|mac: an owner asks that the studio be closed, takes it back, or
-- asks what would go. Gives when it closes.
CREATE FUNCTION custody.close(request text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'g1', 7);
  tenant uuid := custody.expect_owner(p[3]);
  closes timestamptz;
BEGIN
  IF p[4] = 'close' THEN
    IF custody.has_holds(tenant) THEN PERFORM custody.refuse(); END IF;
    -- Asked for twice, the first one counts.
    UPDATE tenancy.studios s SET closes_at = coalesce(s.closes_at, clock_timestamp() + interval '30 days')
      WHERE s.tenant_id = tenant RETURNING s.closes_at INTO closes;
    PERFORM jobs.schedule(tenant, 'closing', closes);
  ELSIF p[4] = 'stay' THEN
    UPDATE tenancy.studios s SET closes_at = NULL WHERE s.tenant_id = tenant AND s.status = 'active';
  ELSE
    SELECT s.closes_at INTO closes FROM tenancy.studios s WHERE s.tenant_id = tenant;
  END IF;
  RETURN closes;
END $$;

-- g2|key|tenant|expires at|nonce|mac: what a studio has, by table; and whether it is held.
CREATE FUNCTION custody.rows_of(question text) RETURNS TABLE (place text, many bigint, is_held boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'g2', 6);
  tenant uuid := custody.expect_owner(p[3]);
BEGIN
  is_held := custody.has_holds(tenant);
  RETURN QUERY SELECT c.place, c.many, rows_of.is_held FROM custody.count_rows(tenant) c;
END $$;

-- g3|key|tenant|expires at|nonce|mac: closes a studio whose time has come, for good. Nobody enters it any more but its
-- service `custody`, which removes what is left. Gives where it stands: `closed`, or why it is not.
CREATE FUNCTION custody.begin_shred(request text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'g3', 6);
  studio tenancy.studios;
BEGIN
  SELECT * INTO studio FROM tenancy.studios s WHERE s.tenant_id = p[3]::uuid FOR UPDATE;
  IF NOT FOUND OR studio.status = 'closed' THEN RETURN coalesce(studio.status, 'unknown'); END IF;
  IF least(studio.closes_at, studio.suspended_at + interval '30 days') > clock_timestamp()
     OR num_nonnulls(studio.closes_at, studio.suspended_at) = 0 THEN
    RETURN 'early';
  END IF;
  IF studio.status IN ('freezing', 'frozen') OR custody.has_holds(studio.tenant_id) THEN
    PERFORM jobs.schedule(studio.tenant_id, 'closing', clock_timestamp() + interval '1 day');
    RETURN 'held';
  END IF;
  UPDATE tenancy.studios s SET status = 'closed', epoch = s.epoch + 1, name = '(closed)', organization = 'closed-' || s.tenant_id
    WHERE s.tenant_id = studio.tenant_id;
  PERFORM jobs.schedule(studio.tenant_id, 'closing', clock_timestamp());
  RETURN 'closed';
END $$;

-- g4|key|tenant|expires at|nonce|mac: waits for whoever is still in a closed studio, and ends who does not leave.
CREATE FUNCTION custody.drain(request text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'g4', 6);
BEGIN
  PERFORM tenancy.take_lock(s.lock_key, interval '2 seconds') FROM tenancy.studios s
    WHERE s.tenant_id = p[3]::uuid AND s.status = 'closed';
END $$;

-- g5|key|tenant|most|expires at|nonce|mac: removes some rows of a closed studio, as its service `custody`. Gives of which
-- table and how many; nothing when none is left.
CREATE FUNCTION custody.shred(request text) RETURNS TABLE (place text, many bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'g5', 7);
  tenant uuid := custody.expect_owner(p[3]);
BEGIN
  IF NOT EXISTS (SELECT FROM tenancy.studios s WHERE s.tenant_id = tenant AND s.status = 'closed') THEN
    RAISE EXCEPTION 'the studio is not closed' USING ERRCODE = 'ZT018';
  END IF;
  RETURN QUERY SELECT r.place, r.many FROM custody.shred_rows(tenant, least(p[4]::integer, 1000)) r;
END $$;

-- g6|key|tenant|note|expires at|nonce|mac: keeps the receipt of a closed studio, as its service `custody`; there is no
-- more work in it but its ledger's.
CREATE FUNCTION custody.keep_receipt(fact text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'g6', 7);
  tenant uuid := custody.expect_owner(p[3]);
BEGIN
  INSERT INTO custody.receipts (tenant_id, note) SELECT tenant, p[4] FROM tenancy.studios s
    WHERE s.tenant_id = tenant AND s.status = 'closed' ON CONFLICT DO NOTHING;
  DELETE FROM jobs.due d WHERE d.tenant_id = tenant;
END $$;
GRANT EXECUTE ON FUNCTION custody.close(text), custody.rows_of(text), custody.begin_shred(text), custody.drain(text), custody.shred(text),
  custody.keep_receipt(text) TO {app}_app;

-- The receipt of a closed studio, for operators.
CREATE FUNCTION custody.receipt(tenant uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN (SELECT r.note FROM custody.receipts r WHERE r.tenant_id = tenant);
END $$;
GRANT EXECUTE ON FUNCTION custody.receipt(uuid) TO {app}_ops;

-- The identity provider deleted the organization: after the grace its studio goes, too.
CREATE FUNCTION custody.close_suspended() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM jobs.schedule(NEW.tenant_id, 'closing', NEW.suspended_at + interval '30 days');
  RETURN NULL;
END $$;

-- Nothing is written into a closed studio, an older copy of its rows neither.
CREATE FUNCTION custody.keep_closed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF EXISTS (SELECT FROM tenancy.studios s WHERE s.tenant_id = NEW.tenant_id AND s.status = 'closed') THEN
    RAISE EXCEPTION 'the studio is closed' USING ERRCODE = 'ZT052';
  END IF;
  RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION custody.close_suspended(), custody.keep_closed() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER close_suspended AFTER UPDATE OF suspended_at ON tenancy.studios FOR EACH ROW
  WHEN (OLD.suspended_at IS NULL AND NEW.suspended_at IS NOT NULL) EXECUTE FUNCTION custody.close_suspended();
ALTER TABLE tenancy.studios ENABLE ALWAYS TRIGGER close_suspended;
DROP POLICY custody ON custody.legal_holds;
SELECT custody.entrust(rel) FROM unnest(ARRAY['vault.studio_keys', 'tenancy.answers', 'custody.legal_holds']::regclass[]) rel;
-- The keys go first: what is left of the rows meanwhile is unreadable.
SELECT custody.shreds(1, 'vault.person_keys'), custody.shreds(2, 'vault.studio_keys'), custody.shreds(3, 'tenancy.answers'),
  custody.shreds(80, 'tenancy.feeds'), custody.shreds(81, 'tenancy.page_sessions'), custody.shreds(82, 'tenancy.members'),
  custody.shreds(99, 'custody.legal_holds');
REVOKE CREATE ON SCHEMA custody FROM {app}_gate, {app}_custody;
