-- What is told of bookings to whoever keeps a stream open: every version, in an order that nothing is put
-- into later.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA studio TO {app}_gate;

-- The transaction that wrote a version. Numbers are drawn before a commit, so that whoever reads by them
-- passes by what commits later; a transaction that is older than every running one has come to its end.
-- What was written before this, and what is restored from elsewhere, comes first.
ALTER TABLE studio.booking_versions ADD COLUMN xact xid8 NOT NULL DEFAULT '0';
ALTER TABLE studio.booking_versions ALTER xact DROP DEFAULT;
CREATE INDEX booking_versions_in_order ON studio.booking_versions (tenant_id, xact, version, id);
-- Whose it was until this version, where that is another: who is told that it went is told nothing else of it.
ALTER TABLE studio.booking_versions ADD COLUMN former_artist_id uuid;
CREATE POLICY gate_see ON studio.booking_versions FOR SELECT TO {app}_gate USING (true);
GRANT SELECT (tenant_id, id, source_id, version, deed, artist_id, former_artist_id, xact) ON studio.booking_versions TO {app}_gate;

SET LOCAL ROLE {app}_gate;
CREATE FUNCTION studio.place_version() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.xact := pg_current_xact_id();
  -- The first version was nobody's before, and a table of bookings that is brought has nothing but first ones.
  IF NEW.version > 1 THEN
    NEW.former_artist_id := (SELECT v.artist_id FROM studio.booking_versions v
      WHERE v.tenant_id = NEW.tenant_id AND v.source_id = NEW.source_id AND v.version = NEW.version - 1
        AND v.artist_id <> NEW.artist_id);
  END IF;
  RETURN NEW;
END $$;

-- The versions after one of them, as many as asked for, of the bookings that whoever this transaction is
-- bound to may see: their ids, and nothing of what they say. Whoever sees the own ones only is told that one
-- went to another, as of the own artist. After the nil id is all of them.
CREATE FUNCTION studio.versions_after(after uuid, most integer)
RETURNS TABLE (tenant_id uuid, id uuid, artist_id uuid, booking_id uuid, version integer, deed text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  tenant uuid := tenancy.tenant_id();
  sees boolean := tenancy.sees_all();
  own uuid := tenancy.artist_id();
  last record;
BEGIN
  SELECT v.xact, v.version, v.id INTO last FROM studio.booking_versions v WHERE v.tenant_id = tenant AND v.id = after;
  RETURN QUERY SELECT v.tenant_id, v.id, CASE WHEN sees OR v.artist_id = own THEN v.artist_id ELSE own END,
      v.source_id, v.version, CASE WHEN sees OR v.artist_id = own THEN v.deed ELSE 'withdraw' END
    FROM studio.booking_versions v
    WHERE v.tenant_id = tenant AND (sees OR own IN (v.artist_id, v.former_artist_id)) AND v.xact < pg_snapshot_xmin(pg_current_snapshot())
      AND (after = '00000000-0000-0000-0000-000000000000' OR (v.xact, v.version, v.id) > (last.xact, last.version, last.id))
    ORDER BY v.xact, v.version, v.id LIMIT least(most, 1000);
END $$;

-- Whether the studio has that version, and which is its last one; the nil id where it has none.
CREATE FUNCTION studio.last_version(after uuid) RETURNS TABLE (tenant_id uuid, known boolean, last uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
DECLARE
  tenant uuid := tenancy.tenant_id();
BEGIN
  RETURN QUERY SELECT tenant,
    after = '00000000-0000-0000-0000-000000000000'
      OR EXISTS (SELECT FROM studio.booking_versions v WHERE v.tenant_id = tenant AND v.id = after),
    coalesce((SELECT v.id FROM studio.booking_versions v
      WHERE v.tenant_id = tenant AND v.xact < pg_snapshot_xmin(pg_current_snapshot())
      ORDER BY v.xact DESC, v.version DESC, v.id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000');
END $$;

-- Whether whoever keeps a stream open may still be told, and whether there is something new that they may
-- see: e1|key|organization|subject|session|claimed role|session issued at|after|expires at|nonce|mac.
-- It shows nothing else: what is told is read in a transaction that is bound as every other.
CREATE FUNCTION studio.stream_stands(signed text) RETURNS TABLE (stands boolean, waiting boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(signed, 'e1', 11);
  who record;
  last record;
BEGIN
  SELECT t.* INTO who FROM tenancy.standing_of(p[3], p[4], p[5], p[6], p[7]::bigint) t;
  IF NOT FOUND THEN
    RETURN QUERY SELECT false, false;
    RETURN;
  END IF;
  SELECT v.xact, v.version, v.id INTO last FROM studio.booking_versions v
    WHERE v.tenant_id = who.tenant AND v.id = p[8]::uuid;
  RETURN QUERY SELECT true, EXISTS (SELECT FROM studio.booking_versions v
    WHERE v.tenant_id = who.tenant AND (who.sees_all OR who.artist IN (v.artist_id, v.former_artist_id))
      AND v.xact < pg_snapshot_xmin(pg_current_snapshot())
      AND (p[8] = '00000000-0000-0000-0000-000000000000' OR (v.xact, v.version, v.id) > (last.xact, last.version, last.id)));
END $$;
GRANT EXECUTE ON FUNCTION studio.versions_after(uuid, integer), studio.last_version(uuid), studio.stream_stands(text)
  TO {app}_app;
GRANT EXECUTE ON FUNCTION studio.place_version() TO {app}_owner;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER place BEFORE INSERT ON studio.booking_versions FOR EACH ROW EXECUTE FUNCTION studio.place_version();
ALTER TABLE studio.booking_versions ENABLE ALWAYS TRIGGER place;
REVOKE CREATE ON SCHEMA studio FROM {app}_gate;
