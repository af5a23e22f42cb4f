-- The bound context: a token that only the server can sign (key ring `context`) is exchanged, once a
-- transaction, for a setting that only this database can seal (key `seal`). Policies read the seal.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA tenancy;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO {app}_app, {app}_gate, {app}_ledger, {app}_digest, {app}_ops;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

CREATE TABLE tenancy.studios (
  tenant_id uuid PRIMARY KEY,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  zone text NOT NULL CHECK (length(zone) BETWEEN 1 AND 64),
  organization text NOT NULL UNIQUE CHECK (organization ~ '^[A-Za-z0-9_-]{1,64}$'),
  status text NOT NULL DEFAULT 'active'
    CHECK (status IN ('active', 'freezing', 'frozen', 'suspended', 'closed')),
  epoch integer NOT NULL DEFAULT 1,
  -- When the identity provider said that the organization is gone: the grace begins.
  suspended_at timestamptz,
  -- When it closes, where an owner asked for that. Until then it is as active as before.
  closes_at timestamptz,
  -- Whether somebody at the identity provider may act as a member: an owner's choice.
  impersonation text NOT NULL DEFAULT 'refused' CHECK (impersonation IN ('refused', 'read_only')),
  -- Who admits whom nobody here invited: its owners, or the identity provider as far as a manager.
  admission text NOT NULL DEFAULT 'owner' CHECK (admission IN ('owner', 'clerk')),
  -- Random, so that no two studios queue behind one lock and nobody can compute another's.
  lock_key bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenancy.members (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  subject text NOT NULL CHECK (subject ~ '^[A-Za-z0-9_-]{1,64}$'),
  -- What the identity provider says, and the highest that an owner of the studio admitted.
  provider_role text NOT NULL CHECK (provider_role IN ('guest', 'freelancer', 'manager', 'owner')),
  ceiling text NOT NULL CHECK (ceiling IN ('guest', 'freelancer', 'manager', 'owner')),
  -- Whether the studio has the member, and whether the identity provider has them no more.
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'removed')),
  provider_removed boolean NOT NULL DEFAULT false,
  artist_id uuid,
  version integer NOT NULL DEFAULT 1,
  valid_after timestamptz NOT NULL DEFAULT '-infinity',
  lock_key bigint NOT NULL,
  joined_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, subject)
);

-- A job acts as a service of one studio; the row is written when the studio is made.
CREATE TABLE tenancy.services (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  name text NOT NULL CHECK (name ~ '^[a-z0-9-]{1,32}$'),
  enabled boolean NOT NULL DEFAULT true,
  PRIMARY KEY (tenant_id, name)
);

-- Sessions of the product's own pages, by the digest of their cookie; the cookie itself is stored
-- nowhere. Looked up before the studio is known, hence the gate's alone.
CREATE TABLE tenancy.page_sessions (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  -- 256 random bits behind it: no two are alike, and no unique index need span the studios.
  digest bytea NOT NULL CHECK (length(digest) = 32),
  member_id uuid NOT NULL,
  -- The identity provider's session from which it was opened, and what its token said.
  session text NOT NULL,
  claimed text NOT NULL,
  issued_s bigint NOT NULL,
  client text NOT NULL CHECK (length(client) <= 200),
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  idle interval NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, member_id) REFERENCES tenancy.members
);
CREATE INDEX page_sessions_by_digest ON tenancy.page_sessions (digest);
CREATE INDEX page_sessions_of_member ON tenancy.page_sessions (tenant_id, member_id, opened_at);

ALTER TABLE tenancy.studios ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.services ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.page_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON tenancy.studios TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON tenancy.members TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON tenancy.services TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY gate ON tenancy.page_sessions TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON tenancy.studios FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON tenancy.members FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON tenancy.services FOR SELECT TO {app}_digest USING (true);
CREATE POLICY digest ON tenancy.page_sessions FOR SELECT TO {app}_digest USING (true);
GRANT SELECT, INSERT, UPDATE (status, epoch, suspended_at, name, impersonation, admission) ON tenancy.studios TO {app}_gate;
GRANT SELECT, INSERT ON tenancy.members, tenancy.services TO {app}_gate;
GRANT SELECT, INSERT, DELETE, UPDATE (seen_at, ended_at) ON tenancy.page_sessions TO {app}_gate;
GRANT SELECT ON tenancy.studios, tenancy.members, tenancy.services TO {app}_digest;
GRANT SELECT (tenant_id, member_id) ON tenancy.page_sessions TO {app}_digest;

SET LOCAL ROLE {app}_gate;
ALTER DEFAULT PRIVILEGES FOR ROLE {app}_gate REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- HMAC keys as their inner and outer pads (RFC 2104): PostgreSQL has SHA-256 built in, but no HMAC.
-- Owned by the gate and granted to nobody.
CREATE TABLE tenancy.keys (
  purpose text NOT NULL CHECK (purpose IN ('context', 'seal')),
  id smallint NOT NULL,
  ipad bytea NOT NULL CHECK (length(ipad) = 64),
  opad bytea NOT NULL CHECK (length(opad) = 64),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  retired_at timestamptz,
  PRIMARY KEY (purpose, id)
);

-- Sessions of the identity provider, by their ids: of every studio and of none. Owned by the gate and
-- granted to nobody.
CREATE TABLE tenancy.sessions (
  session text PRIMARY KEY CHECK (session ~ '^[A-Za-z0-9_-]{1,64}$'),
  subject text NOT NULL,
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);

-- A ticket for each context: every number of an epoch has exactly one ledger entry. Unlogged, so a
-- crash restarts it below 2^40, which `enter` notices: it then sets it to a new epoch from a logged
-- sequence. Sequences are outside transactions, so nobody waits for whoever is first.
CREATE UNLOGGED SEQUENCE tenancy.ticket;
CREATE SEQUENCE tenancy.boot;

CREATE FUNCTION tenancy.hmac(purpose text, id smallint, message text) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k record;
BEGIN
  SELECT t.ipad, t.opad INTO k FROM tenancy.keys t
    WHERE t.purpose = hmac.purpose AND t.id = hmac.id
      AND (t.retired_at IS NULL OR t.retired_at > clock_timestamp());
  IF NOT FOUND THEN RETURN NULL; END IF;
  RETURN sha256(k.opad || sha256(k.ipad || convert_to(message, 'UTF8')));
END $$;

-- Exchanges a token for a bound context, or refuses.
--   member:  v1|key|m|organization|subject|session|claimed role|session issued at|expires at|nonce|mac
--            and `a` for `m` when somebody acts as that member
--   service: v1|key|s|tenant|name||service|0|expires at|nonce|mac
--   page:    v1|key|p|digest of the cookie||||0|expires at|nonce|mac
--   feed:    v1|key|f|digest of the address||||0|expires at|nonce|mac
-- A page session stands for the member who opened it, as `open_page_session` noted, and a feed likewise: it has no
-- session and only reads. Tenant, member and artist come from rows, never from the token. A refusal of somebody whom the
-- studio knows carries in DETAIL who that is, so that the studio's ledger can say so.
CREATE FUNCTION tenancy.enter(
  token text,
  OUT tenant uuid, OUT member uuid, OUT member_role text, OUT artist uuid, OUT number bigint,
  OUT studio_name text, OUT studio_zone text, OUT subject text, OUT shut_out text[],
  OUT has_noted boolean
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := string_to_array(token, '|');
  now_s double precision := extract(epoch FROM clock_timestamp());
  pads record;
  keys record;
  found_row record;
  page record;
  refusal text;
  body text;
  acted boolean := p[3] = 'a';
  fed boolean := p[3] = 'f';
BEGIN
  IF p[1] IS DISTINCT FROM 'v1' OR cardinality(p) IS DISTINCT FROM 11 THEN
    RAISE EXCEPTION 'context malformed' USING ERRCODE = 'ZT001';
  END IF;
  -- At a higher level the snapshot would be older than the lock, and a frozen studio would answer. An archive needs one
  -- all the same, and has it looked at below; so does evidence.
  IF current_setting('transaction_isolation') <> 'read committed'
     AND (current_setting('transaction_isolation') <> 'repeatable read' OR p[3] IS DISTINCT FROM 's'
       OR p[5] IS NULL OR p[5] NOT IN ('custody', 'evidence')) THEN
    RAISE EXCEPTION 'isolation level not allowed' USING ERRCODE = 'ZT005';
  END IF;
  IF coalesce(current_setting('tenancy.sealed', true), '') <> '' THEN
    RAISE EXCEPTION 'context already bound' USING ERRCODE = 'ZT004';
  END IF;
  -- tenancy.hmac() twice, in one query: this runs in every request. A key that is not there makes the digest null.
  SELECT c.ipad, c.opad, s.ipad AS seal_ipad, s.opad AS seal_opad INTO pads
    FROM tenancy.keys s LEFT JOIN tenancy.keys c ON c.purpose = 'context' AND c.id = p[2]::smallint
      AND (c.retired_at IS NULL OR c.retired_at > clock_timestamp())
    WHERE s.purpose = 'seal' AND s.id = 1;
  -- Both sides hashed once more: comparing digests of digests tells nothing by its time.
  IF sha256(sha256(pads.opad || sha256(pads.ipad || convert_to(array_to_string(p[1:10], '|'), 'UTF8'))))
     IS DISTINCT FROM sha256(decode(p[11], 'hex')) THEN
    RAISE EXCEPTION 'context forged' USING ERRCODE = 'ZT002';
  END IF;
  IF p[9]::double precision < now_s OR p[9]::double precision > now_s + 60 THEN
    RAISE EXCEPTION 'context expired' USING ERRCODE = 'ZT003';
  END IF;

  IF acted THEN p[3] := 'm'; END IF;
  IF p[3] = 'p' THEN
    SELECT s.organization, m.subject AS opened_by, v.session, v.claimed, v.issued_s, v.seen_at INTO page
      FROM tenancy.page_sessions v
      JOIN tenancy.studios s ON s.tenant_id = v.tenant_id
      JOIN tenancy.members m ON m.tenant_id = v.tenant_id AND m.id = v.member_id
      WHERE v.digest = decode(p[4], 'hex') AND v.ended_at IS NULL
        AND clock_timestamp() < least(v.expires_at, v.seen_at + v.idle);
    IF NOT FOUND THEN
      -- One that is over is everyday's; one that never was is a guess.
      IF NOT EXISTS (SELECT FROM tenancy.page_sessions v WHERE v.digest = decode(p[4], 'hex')) THEN
        RAISE EXCEPTION 'no such page session' USING ERRCODE = 'ZT024';
      END IF;
      RAISE EXCEPTION 'the page session is over' USING ERRCODE = 'ZT013';
    END IF;
    -- One of its requests at a time notes that it is awake; the others do not wait for that one.
    IF page.seen_at < clock_timestamp() - interval '1 minute'
       AND pg_try_advisory_xact_lock(hashtextextended(p[4], 1)) THEN
      UPDATE tenancy.page_sessions v SET seen_at = clock_timestamp() WHERE v.digest = decode(p[4], 'hex');
      has_noted := true;
    END IF;
    p := ARRAY[p[1], p[2], 'm', page.organization, page.opened_by, page.session, page.claimed, page.issued_s::text];
  END IF;
  IF fed THEN
    SELECT s.organization, m.subject AS opened_by INTO page FROM tenancy.feeds v
      JOIN tenancy.studios s ON s.tenant_id = v.tenant_id
      JOIN tenancy.members m ON m.tenant_id = v.tenant_id AND m.id = v.member_id
      WHERE v.digest = decode(p[4], 'hex') AND v.ended_at IS NULL;
    IF NOT FOUND THEN
      IF NOT EXISTS (SELECT FROM tenancy.feeds v WHERE v.digest = decode(p[4], 'hex')) THEN
        RAISE EXCEPTION 'no such feed' USING ERRCODE = 'ZT024';
      END IF;
      RAISE EXCEPTION 'the feed is over' USING ERRCODE = 'ZT013';
    END IF;
    -- It claims nothing of its own: the role is what the membership has now.
    p := ARRAY[p[1], p[2], 'm', page.organization, page.opened_by, '', 'owner', ceil(now_s)::bigint::text];
  END IF;

  -- Only what never changes is read before the locks: which studio, which member, which keys.
  IF p[3] = 'm' THEN
    SELECT s.tenant_id, m.id AS member_id, s.lock_key, coalesce(m.lock_key, s.lock_key) AS member_key INTO keys
      FROM tenancy.studios s LEFT JOIN tenancy.members m ON m.tenant_id = s.tenant_id AND m.subject = p[5]
      WHERE s.organization = p[4];
  ELSE
    SELECT s.tenant_id, NULL::uuid AS member_id, s.lock_key, s.lock_key AS member_key INTO keys
      FROM tenancy.studios s WHERE s.tenant_id = p[4]::uuid;
  END IF;
  IF NOT FOUND THEN RAISE EXCEPTION 'not a member' USING ERRCODE = 'ZT011'; END IF;

  -- The try form, never waiting: one frozen studio must not hold the pool of all.
  IF NOT pg_try_advisory_xact_lock_shared(keys.lock_key)
     OR NOT pg_try_advisory_xact_lock_shared(keys.member_key) THEN
    refusal := 'ZT010';
  END IF;

  -- A snapshot that was taken before them is as good if the studio is still as it shows it: otherwise this fails as a
  -- serialization does. The row's own lock is given back at once, or a freeze would wait for the archive.
  IF current_setting('transaction_isolation') = 'repeatable read' THEN
    BEGIN
      PERFORM FROM tenancy.studios s WHERE s.tenant_id = keys.tenant_id FOR SHARE;
      RAISE EXCEPTION USING ERRCODE = 'ZT000';
    EXCEPTION WHEN SQLSTATE 'ZT000' THEN NULL;
    END;
  END IF;

  -- A new statement of a volatile function has a new snapshot, taken after the locks.
  IF p[3] = 'm' THEN
    SELECT s.status, s.name, s.zone, s.impersonation, m.artist_id, m.valid_after,
           CASE WHEN m.provider_removed THEN 'removed' ELSE m.state END AS state,
           CASE least(tenancy.rank(p[7]), tenancy.rank(m.provider_role), tenancy.rank(m.ceiling))
             WHEN 3 THEN 'owner' WHEN 2 THEN 'manager' WHEN 1 THEN 'freelancer' ELSE 'guest' END AS role,
           v.session IS NOT NULL AS is_seen, v.subject <> p[5] OR v.ended_at IS NOT NULL AS is_ended,
           EXISTS (SELECT FROM tenancy.isolations i WHERE i.tenant_id = s.tenant_id
             AND (i.member_id = m.id OR i.session = p[6]) AND i.ended_at IS NULL) AS is_isolated,
           ARRAY(SELECT i.address FROM tenancy.isolations i WHERE i.tenant_id = s.tenant_id AND i.address IS NOT NULL
             AND i.ended_at IS NULL) AS shut_out
      INTO found_row
      FROM tenancy.studios s JOIN tenancy.members m ON m.tenant_id = s.tenant_id
      LEFT JOIN tenancy.sessions v ON v.session = p[6]
      WHERE s.tenant_id = keys.tenant_id AND m.id = keys.member_id;
  ELSE
    SELECT s.status, s.name, s.zone, s.impersonation, CASE WHEN v.enabled THEN 'active' ELSE 'removed' END AS state,
           NULL::uuid AS artist_id, '-infinity'::timestamptz AS valid_after, 'service' AS role,
           true AS is_seen, false AS is_ended, false AS is_isolated, '{}'::text[] AS shut_out
      INTO found_row
      FROM tenancy.studios s JOIN tenancy.services v ON v.tenant_id = s.tenant_id
      WHERE s.tenant_id = keys.tenant_id AND v.name = p[5];
  END IF;
  IF NOT FOUND THEN RAISE EXCEPTION 'not a member' USING ERRCODE = 'ZT011'; END IF;

  refusal := CASE
    WHEN found_row.state = 'removed' THEN 'ZT011'
    WHEN found_row.state = 'pending' THEN 'ZT017'
    -- Once it is certain that nobody is in it, what shows what happened is gathered for its owner, and it is brought back.
    WHEN found_row.status = 'freezing' OR found_row.status = 'frozen' AND (p[3], p[5]) IS DISTINCT FROM ('s', 'evidence')
      AND (p[3], p[5]) IS DISTINCT FROM ('s', 'restore') THEN 'ZT020'
    -- A closed one is entered by whoever removes what is left of it. Who brings a frozen one back enters no other.
    WHEN refusal IS NOT NULL OR NOT CASE found_row.status WHEN 'active' THEN (p[3], p[5]) IS DISTINCT FROM ('s', 'restore')
      WHEN 'closed' THEN p[3] = 's' AND p[5] = 'custody' ELSE found_row.status = 'frozen' END THEN 'ZT010'
    WHEN to_timestamp(p[8]::double precision) < found_row.valid_after THEN 'ZT013'
    -- A session belongs to whom it was first seen with, and an ended one to nobody.
    WHEN found_row.is_ended THEN 'ZT013'
    WHEN found_row.is_isolated THEN 'ZT021'
    WHEN acted AND found_row.impersonation <> 'read_only' THEN 'ZT019'
    WHEN found_row.role = 'guest' THEN 'ZT016'
  END;
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION 'context refused' USING ERRCODE = refusal, DETAIL = jsonb_build_object(
      'tenant', keys.tenant_id, 'actor', CASE p[3] WHEN 'm' THEN p[5] ELSE 'service:' || p[5] END, 'member', keys.member_id, 'role', found_row.role, 'studio', found_row.name)::text;
  END IF;

  -- A session that is new is noted by one of its requests at a time; the others do not wait for that
  -- one's transaction, as they would for an INSERT of the same row.
  IF NOT found_row.is_seen AND NOT fed AND pg_try_advisory_xact_lock(hashtextextended(p[6], 0)) THEN
    INSERT INTO tenancy.sessions (session, subject) VALUES (p[6], p[5]) ON CONFLICT DO NOTHING;
    has_noted := true;
  END IF;

  -- What an earlier user of this connection may have left: cursors that outlive their transaction,
  -- and settings.
  EXECUTE 'CLOSE ALL';
  IF (current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
      current_setting('timezone'), current_setting('datestyle')) IS DISTINCT FROM ('5s', '2s', '5s', 'UTC', 'ISO, YMD') THEN
    PERFORM set_config('statement_timeout', '5s', true), set_config('lock_timeout', '2s', true),
      set_config('idle_in_transaction_session_timeout', '5s', true),
      set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true);
  END IF;

  number := nextval('tenancy.ticket');
  IF number < 1::bigint << 40 THEN
    PERFORM setval('tenancy.ticket', nextval('tenancy.boot') << 40);
    number := nextval('tenancy.ticket');
  END IF;

  -- Whether something of its own is to be committed: whoever only reads may roll back otherwise.
  has_noted := coalesce(has_noted, false);
  tenant := keys.tenant_id;
  member := keys.member_id;
  member_role := found_row.role;
  artist := found_row.artist_id;
  studio_name := found_row.name;
  studio_zone := found_row.zone;
  subject := CASE p[3] WHEN 'm' THEN p[5] ELSE 'service:' || p[5] END;
  -- Which addresses are let in no more: from where a request comes the server knows, and this does not.
  shut_out := found_row.shut_out;

  body := concat_ws('|', tenant, coalesce(member::text, p[5]), member_role, coalesce(artist::text, ''), number,
    p[6], p[7], p[8], CASE WHEN acted THEN 'acted' WHEN fed THEN 'fed' ELSE '' END);
  -- Assigned to what is not needed any more: PERFORM would be a query of its own, in every request.
  refusal := set_config('tenancy.sealed', body || '|' || encode(sha256(pads.seal_opad || sha256(pads.seal_ipad || convert_to(
    body || '|' || pg_backend_pid() || '|' || extract(epoch FROM transaction_timestamp()), 'UTF8'))), 'hex'), true);
  -- For policies and tools of others. Ours never read it: docs/decisions/context.md shows why.
  refusal := set_config('app.current_tenant', tenant::text, true);
END $$;

-- Without a search path of its own it becomes part of the queries that call it; its names were looked up here.
CREATE FUNCTION tenancy.rank(role text) RETURNS integer LANGUAGE sql IMMUTABLE
RETURN CASE role WHEN 'owner' THEN 3 WHEN 'manager' THEN 2 WHEN 'freelancer' THEN 1 ELSE 0 END;

-- What policies read. Each accessor checks the seal itself (one call instead of two nested ones:
-- they run once a statement), hence one text for all of them.
DO $accessors$
DECLARE
  accessor record;
BEGIN
  FOR accessor IN SELECT * FROM (VALUES
    ('tenant_id', 'uuid',    'c[1]::uuid'),
    ('actor',     'text',    'c[2]'),
    ('role',      'text',    'c[3]'),
    ('artist_id', 'uuid',    'nullif(c[4], '''')::uuid'),
    ('sees_all',  'boolean', 'c[3] IN (''owner'', ''manager'', ''service'')'),
    -- Whoever acts as a member only reads, and so does a feed.
    ('writes',    'boolean', 'c[3] IN (''owner'', ''manager'', ''service'') AND c[9] = '''''),
    -- The session as the token had it: what a page session inherits. Acting as somebody opens none, nor does a feed.
    ('session',   'text',    'CASE WHEN c[9] = '''' THEN nullif(c[6], '''') END'),
    ('claimed',   'text',    'c[7]'),
    ('issued_s',  'bigint',  'c[8]::bigint')
  ) v(name, type, value) LOOP
    EXECUTE format($function$
      CREATE FUNCTION tenancy.%I() RETURNS %s
      LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
      SET search_path = pg_catalog, pg_temp SET row_security = on AS $body$
      DECLARE
        sealed text := current_setting('tenancy.sealed', true);
        body text;
        k record;
        c text[];
      BEGIN
        IF coalesce(sealed, '') = '' THEN RETURN NULL; END IF;
        body := left(sealed, -65);
        SELECT t.ipad, t.opad INTO STRICT k FROM tenancy.keys t WHERE t.purpose = 'seal' AND t.id = 1;
        IF length(sealed) < 110 OR sha256(k.opad || sha256(k.ipad || convert_to(body || '|' || pg_backend_pid() || '|'
             || extract(epoch FROM transaction_timestamp()), 'UTF8'))) IS DISTINCT FROM decode(right(sealed, 64), 'hex') THEN
          RAISE EXCEPTION 'context forged' USING ERRCODE = 'ZT002';
        END IF;
        c := string_to_array(body, '|');
        RETURN %s;
      END $body$ $function$, accessor.name, accessor.type, accessor.value);
    EXECUTE format('GRANT EXECUTE ON FUNCTION tenancy.%I() TO {app}_app, {app}_owner, {app}_ledger', accessor.name);
  END LOOP;
END $accessors$;
GRANT EXECUTE ON FUNCTION tenancy.enter(text) TO {app}_app;

-- What an owner decides for the studio; null leaves as it is.
CREATE FUNCTION tenancy.choose(called text, acting text, admitting text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF tenancy.role() IS DISTINCT FROM 'owner' OR NOT tenancy.writes() THEN
    RAISE EXCEPTION 'an owner chooses' USING ERRCODE = '42501';
  END IF;
  UPDATE tenancy.studios s SET name = coalesce(called, s.name), impersonation = coalesce(acting, s.impersonation),
      admission = coalesce(admitting, s.admission)
    WHERE s.tenant_id = tenancy.tenant_id();
END $$;

-- What was decided for the own studio, for its owners and managers.
CREATE FUNCTION tenancy.choices() RETURNS TABLE (name text, zone text, status text, impersonation text, admission text, closes_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN QUERY SELECT s.name, s.zone, CASE WHEN s.closes_at IS NULL THEN s.status ELSE 'closing' END, s.impersonation, s.admission,
      s.closes_at FROM tenancy.studios s
    WHERE s.tenant_id = tenancy.tenant_id() AND tenancy.role() IN ('owner', 'manager');
END $$;
GRANT EXECUTE ON FUNCTION tenancy.choose(text, text, text), tenancy.choices() TO {app}_app;

-- Whether a studio is being made in this very transaction: nobody can have entered it yet.
CREATE FUNCTION tenancy.is_being_made(tenant uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  RETURN EXISTS (SELECT FROM tenancy.studios s WHERE s.tenant_id = tenant AND s.created_at = transaction_timestamp());
END $$;
GRANT EXECUTE ON FUNCTION tenancy.is_being_made(uuid) TO {app}_ledger;

-- The seal's key is made here and never leaves. gen_random_uuid() draws from the strong generator.
DO $seal$
DECLARE
  raw bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
  inner_pad bytea := decode(repeat('36', 64), 'hex');
  outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
  FOR i IN 0..31 LOOP
    inner_pad := set_byte(inner_pad, i, get_byte(raw, i) # 54);
    outer_pad := set_byte(outer_pad, i, get_byte(raw, i) # 92);
  END LOOP;
  INSERT INTO tenancy.keys (purpose, id, ipad, opad) VALUES ('seal', 1, inner_pad, outer_pad);
END $seal$;

-- Freezing is two calls in two transactions: mark (commit), then drain. `frozen` is written only
-- while the exclusive lock is held, so a snapshot that sees it sees every transaction of the studio.
-- Granted to nobody: `tenancy.begin_isolation` and its siblings call them.
CREATE FUNCTION tenancy.freeze_mark(tenant uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  waits text := current_setting('lock_timeout');
  key bigint := (SELECT s.lock_key FROM tenancy.studios s WHERE s.tenant_id = tenant);
BEGIN
  PERFORM set_config('lock_timeout', '500', true);
  FOR attempt IN 1..50 LOOP
    BEGIN
      UPDATE tenancy.studios s SET status = 'freezing', epoch = s.epoch + 1
        WHERE s.tenant_id = tenant AND s.status IN ('active', 'freezing', 'frozen');
      IF NOT FOUND THEN RAISE EXCEPTION 'no such studio' USING ERRCODE = 'ZT014'; END IF;
      PERFORM set_config('lock_timeout', waits, true);
      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      -- Somebody of the studio changes its row and does not end: the brake ends them now and not only when it drains.
      -- Not another operator's drain, which holds the lock alone.
      PERFORM tenancy.end_holders(key, '{ShareLock}');
      PERFORM set_config('lock_timeout', '200', true);
    END;
  END LOOP;
  RAISE EXCEPTION 'somebody holds on' USING ERRCODE = 'ZT015';
END $$;

-- Ends the backends that hold an advisory lock so. Gives how many.
CREATE FUNCTION tenancy.end_holders(key bigint, modes text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT count(*) FROM (
    SELECT pg_terminate_backend(l.pid) AS done FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.classid = ((key >> 32) & 4294967295)::oid AND l.objid = (key & 4294967295)::oid
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode = ANY (modes) AND l.pid <> pg_backend_pid()) t WHERE t.done);
END $$;

-- Takes an advisory lock for the rest of this transaction. Waits `patience` for whoever holds it, then
-- ends the backends that still do. Gives how many were ended.
CREATE FUNCTION tenancy.take_lock(key bigint, patience interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended integer := 0;
BEGIN
  PERFORM set_config('lock_timeout', greatest(ceil(extract(epoch FROM patience) * 1000), 1)::text, true);
  FOR attempt IN 1..50 LOOP
    BEGIN
      PERFORM pg_advisory_xact_lock(key);
      RETURN ended;
    EXCEPTION WHEN lock_not_available THEN
      ended := ended + tenancy.end_holders(key, '{ShareLock,ExclusiveLock}');
      PERFORM set_config('lock_timeout', '200', true);
    END;
  END LOOP;
  RAISE EXCEPTION 'somebody holds on' USING ERRCODE = 'ZT015';
END $$;

-- Gives how many backends were ended because they held on to the studio.
CREATE FUNCTION tenancy.freeze_drain(tenant uuid, patience interval DEFAULT '500 ms') RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  key bigint;
  ended integer;
BEGIN
  SELECT s.lock_key INTO key FROM tenancy.studios s WHERE s.tenant_id = tenant AND s.status IN ('freezing', 'frozen');
  IF NOT FOUND THEN RAISE EXCEPTION 'mark the studio first' USING ERRCODE = 'ZT014'; END IF;
  ended := tenancy.take_lock(key, patience);
  UPDATE tenancy.studios s SET status = 'frozen' WHERE s.tenant_id = tenant AND s.status IN ('freezing', 'frozen');
  IF NOT FOUND THEN RAISE EXCEPTION 'thawed meanwhile' USING ERRCODE = 'ZT014'; END IF;
  RETURN ended;
END $$;

CREATE FUNCTION tenancy.thaw(tenant uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  UPDATE tenancy.studios s
    SET status = CASE WHEN s.suspended_at IS NULL THEN 'active' ELSE 'suspended' END, epoch = s.epoch + 1
    WHERE s.tenant_id = tenant AND s.status IN ('freezing', 'frozen');
END $$;
SET LOCAL ROLE {app}_owner;
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
