-- Members, as their studio and the identity provider see them. The provider may lower and remove at
-- once and never raise above what an owner admitted; what it said last counts, in whatever order it
-- comes. docs/decisions/people.md has the why.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA tenancy TO {app}_gate;

ALTER TABLE tenancy.members
  -- Whoever is invited has no subject yet; `invitation` is the provider's id of it.
  ALTER subject DROP NOT NULL,
  ADD invitation text CHECK (invitation ~ '^[A-Za-z0-9_-]{1,64}$'),
  ALTER provider_role SET DEFAULT 'guest',
  ALTER lock_key SET DEFAULT ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)
    || substr(replace(gen_random_uuid()::text, '-', ''), 1, 4))::bit(64)::bigint,
  ADD name text CHECK (length(name) BETWEEN 1 AND 200),
  -- Sealed by the vault, and by what it is found again: a number and an HMAC under the studio's key.
  ADD email bytea,
  ADD email_index bytea CHECK (length(email_index) = 34),
  ADD updated_at timestamptz NOT NULL DEFAULT now(),
  -- Of when, by its own clock, the provider's newest word on the membership and on the name is, and
  -- when it was heard.
  ADD provider_at_ms bigint NOT NULL DEFAULT 0,
  ADD name_at_ms bigint NOT NULL DEFAULT 0,
  ADD provider_heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ADD CONSTRAINT members_subject CHECK (subject IS NOT NULL OR state <> 'active'),
  ADD CONSTRAINT members_invitation UNIQUE (tenant_id, invitation);
CREATE INDEX members_of_subject ON tenancy.members (subject);
CREATE INDEX members_by_email ON tenancy.members (tenant_id, email_index);
-- Of open invitations alone: what the identity provider says of members must never fail for it.
CREATE UNIQUE INDEX members_one_invitation ON tenancy.members (tenant_id, email_index)
  WHERE subject IS NULL AND state = 'pending';
CREATE INDEX members_by_joining ON tenancy.members (tenant_id, joined_at, id);
-- The planner's estimates are made from every studio's rows.
ALTER TABLE tenancy.members ALTER subject SET STATISTICS 0, ALTER name SET STATISTICS 0,
  ALTER email SET STATISTICS 0, ALTER email_index SET STATISTICS 0, ALTER invitation SET STATISTICS 0;

-- Owners and managers see who is here, owners change it. Nobody adds a member who counts: an owner
-- invites, and the rest is the gate's.
CREATE POLICY wall ON tenancy.members AS RESTRICTIVE TO {app}_app
  USING (tenant_id = (SELECT tenancy.tenant_id())) WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()));
CREATE POLICY see ON tenancy.members FOR SELECT TO {app}_app USING ((SELECT tenancy.role()) IN ('owner', 'manager')
  OR (SELECT tenancy.role()) = 'service' AND (SELECT tenancy.actor()) = 'people');
CREATE POLICY add ON tenancy.members FOR INSERT TO {app}_app
  WITH CHECK ((SELECT tenancy.role()) = 'owner' AND (SELECT tenancy.writes()) AND subject IS NULL AND state = 'pending');
CREATE POLICY change ON tenancy.members FOR UPDATE TO {app}_app
  USING ((SELECT tenancy.role()) = 'owner' AND (SELECT tenancy.writes()))
  WITH CHECK ((SELECT tenancy.role()) = 'owner' AND (SELECT tenancy.writes()));
GRANT SELECT (tenant_id, id, version, subject, name, email, email_index, provider_role, ceiling, state,
  provider_removed, artist_id, valid_after, joined_at, updated_at), INSERT (tenant_id, id, ceiling, email, email_index, joined_at, updated_at),
  UPDATE (version, updated_at, ceiling, state, artist_id, valid_after) ON tenancy.members TO {app}_app;
GRANT UPDATE (version, updated_at, subject, invitation, name, email, email_index, provider_role, ceiling, state,
  provider_removed, provider_at_ms, name_at_ms, provider_heard_at) ON tenancy.members TO {app}_gate;

SET LOCAL ROLE {app}_gate;
-- Changes of one studio's members happen in turn, or two owners could remove each other at once. Taken
-- before the first row is, as `apply_event` does: the other order would be a deadlock.
CREATE FUNCTION tenancy.members_in_turn() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  PERFORM FROM tenancy.studios s WHERE s.tenant_id = tenancy.tenant_id() FOR NO KEY UPDATE;
  RETURN NULL;
END $$;

-- Nobody raises the own role, and an owner who counts is always left.
CREATE FUNCTION tenancy.members_keep_an_owner() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF EXISTS (SELECT FROM new_members n JOIN old_members o ON o.tenant_id = n.tenant_id AND o.id = n.id
             WHERE n.id::text = tenancy.actor() AND tenancy.rank(n.ceiling) > tenancy.rank(o.ceiling)) THEN
    RAISE EXCEPTION 'the own role was raised' USING ERRCODE = '23514', CONSTRAINT = 'members_own_role';
  END IF;
  IF NOT EXISTS (SELECT FROM tenancy.members m WHERE m.tenant_id = tenancy.tenant_id() AND m.state = 'active'
                 AND NOT m.provider_removed AND m.ceiling = 'owner' AND m.provider_role = 'owner') THEN
    RAISE EXCEPTION 'no owner would be left' USING ERRCODE = '23514', CONSTRAINT = 'members_last_owner';
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.members_in_turn(), tenancy.members_keep_an_owner() TO {app}_owner;

-- What a member's role comes to: below every role for one who does not count.
CREATE FUNCTION tenancy.standing(m tenancy.members) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN m.state = 'active' AND NOT m.provider_removed
    THEN least(tenancy.rank(m.provider_role), tenancy.rank(m.ceiling)) ELSE -1 END
$$;

-- What became of a member by an event. Ends the pages' sessions of one who was lowered, and notes it.
CREATE FUNCTION tenancy.effect_of(was tenancy.members, now_is tenancy.members, cause text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  effect text := CASE
    WHEN was.id IS NULL THEN 'seen'
    WHEN tenancy.standing(now_is) < tenancy.standing(was) THEN 'lowered'
    WHEN tenancy.standing(now_is) > tenancy.standing(was) THEN 'raised'
    ELSE 'noted' END;
BEGIN
  IF effect = 'lowered' THEN
    UPDATE tenancy.page_sessions v SET ended_at = clock_timestamp()
      WHERE v.tenant_id = now_is.tenant_id AND v.member_id = now_is.id AND v.ended_at IS NULL;
  END IF;
  PERFORM ledger.note_service(now_is.tenant_id, 'clerk', cause, CASE
    WHEN now_is.provider_removed AND NOT coalesce(was.provider_removed, false) THEN 'member.remove'
    WHEN effect = 'seen' THEN 'member.add' ELSE 'member.change' END, 'member', ARRAY[now_is.id]);
  RETURN effect;
END $$;

-- The provider's word on one member. The newest counts; of two at one time the removal, then the lower
-- role: so every order of the same events ends in the same row. Its parts are those of `apply_event`.
CREATE FUNCTION tenancy.hear_of_member(
  of_tenant uuid, about text, cause text, kind text, role text, at_ms bigint, said_name text,
  OUT tenant uuid, OUT member uuid, OUT effect text
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone boolean := kind IN ('gone', 'absent', 'user_gone');
  was tenancy.members;
  now_is tenancy.members;
BEGIN
  PERFORM FROM tenancy.studios s WHERE s.tenant_id = of_tenant FOR NO KEY UPDATE;
  SELECT * INTO was FROM tenancy.members m WHERE m.tenant_id = of_tenant AND m.subject = about;
  IF NOT FOUND THEN
    IF kind NOT IN ('member', 'gone') THEN RETURN; END IF;
    -- Nobody here invited them: no data until an owner admits them, or the owners left that to the
    -- provider. Even then nobody but an owner makes an owner. The same for whom it tells as gone, or the
    -- order of what it tells would matter.
    INSERT INTO tenancy.members (tenant_id, id, subject, state, ceiling, provider_removed, provider_role, provider_at_ms,
        name, name_at_ms)
      SELECT of_tenant, gen_random_uuid(), about, CASE s.admission WHEN 'clerk' THEN 'active' ELSE 'pending' END,
          CASE s.admission WHEN 'clerk' THEN 'manager' ELSE 'guest' END, gone, CASE WHEN gone THEN 'guest' ELSE role END,
          at_ms, said_name, CASE WHEN said_name IS NULL THEN 0 ELSE at_ms END
        FROM tenancy.studios s WHERE s.tenant_id = of_tenant
      RETURNING * INTO now_is;
    -- A trigger may keep out whom it knows to be gone.
    IF now_is.id IS NULL THEN RETURN; END IF;
  ELSE
    -- One who is missing in a list counts as removed only if nothing newer was heard meanwhile.
    IF kind = 'absent' AND was.provider_heard_at > to_timestamp(at_ms / 1000.0) THEN RETURN; END IF;
    now_is := was;
    IF kind = 'absent' THEN
      now_is.provider_removed := true;
      now_is.provider_role := 'guest';
    ELSIF kind <> 'user' AND (at_ms, gone, -tenancy.rank(role))
        > (was.provider_at_ms, was.provider_removed, -tenancy.rank(was.provider_role)) THEN
      now_is.provider_at_ms := at_ms;
      now_is.provider_removed := gone;
      now_is.provider_role := CASE WHEN gone THEN 'guest' ELSE role END;
    END IF;
    IF said_name IS NOT NULL AND (at_ms, said_name COLLATE "C") > (was.name_at_ms, coalesce(was.name, '') COLLATE "C") THEN
      now_is.name := said_name;
      now_is.name_at_ms := at_ms;
    END IF;
    UPDATE tenancy.members m SET provider_at_ms = now_is.provider_at_ms, provider_removed = now_is.provider_removed,
        provider_role = now_is.provider_role, name = now_is.name, name_at_ms = now_is.name_at_ms,
        provider_heard_at = clock_timestamp(), version = m.version + (now_is IS DISTINCT FROM was)::integer,
        updated_at = CASE WHEN now_is IS DISTINCT FROM was THEN clock_timestamp() ELSE m.updated_at END
      WHERE m.tenant_id = of_tenant AND m.id = was.id;
    IF now_is IS NOT DISTINCT FROM was THEN RETURN; END IF;
  END IF;
  tenant := of_tenant;
  member := now_is.id;
  effect := tenancy.effect_of(was, now_is, cause);
END $$;

-- Somebody accepted an invitation of this studio's owner: from now on they are admitted as far as it
-- said. Where the provider told of them before, that row is theirs and the invited one is done with.
CREATE FUNCTION tenancy.hear_of_acceptance(
  of_tenant uuid, about text, cause text, accepted text, OUT tenant uuid, OUT member uuid, OUT effect text
) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  invited tenancy.members;
  was tenancy.members;
  now_is tenancy.members;
BEGIN
  PERFORM FROM tenancy.studios s WHERE s.tenant_id = of_tenant FOR NO KEY UPDATE;
  SELECT * INTO invited FROM tenancy.members m
    WHERE m.tenant_id = of_tenant AND m.invitation = accepted AND m.subject IS NULL AND m.state = 'pending';
  IF NOT FOUND THEN RETURN; END IF;
  SELECT * INTO was FROM tenancy.members m WHERE m.tenant_id = of_tenant AND m.subject = about;
  IF FOUND THEN
    UPDATE tenancy.members m SET state = 'removed', version = m.version + 1, updated_at = clock_timestamp()
      WHERE m.tenant_id = of_tenant AND m.id = invited.id;
    UPDATE tenancy.members m SET state = 'active', version = m.version + 1, updated_at = clock_timestamp(),
        ceiling = CASE WHEN m.state = 'active' AND tenancy.rank(m.ceiling) > tenancy.rank(invited.ceiling)
          THEN m.ceiling ELSE invited.ceiling END
      WHERE m.tenant_id = of_tenant AND m.id = was.id RETURNING * INTO now_is;
  ELSE
    was := invited;
    UPDATE tenancy.members m SET subject = about, state = 'active', version = m.version + 1, updated_at = clock_timestamp()
      WHERE m.tenant_id = of_tenant AND m.id = invited.id RETURNING * INTO now_is;
  END IF;
  tenant := of_tenant;
  member := now_is.id;
  effect := tenancy.effect_of(was, now_is, cause);
END $$;

-- Applies an event: e2|key|delivery|kind|organization|subject|role|at ms|said|expires at|nonce|mac.
--   member      a membership is there, with that role; `said` is the name
--   gone        a membership is no more
--   absent      it is not in a list that was begun at that time, by our clock
--   user        a user's name changed; `said` is the name
--   user_gone   a user is no more, and no session of theirs
--   banned      a user may sign in no more: no session of theirs counts
--   accepted    a user accepted the invitation `said`
--   uninvited   the invitation `said` was taken back
--   organization_gone   suspends the studio, and shreds nothing
-- `said` is in hexadecimal digits, for it may hold anything. Gives whom it changed and how: seen,
-- noted, lowered, raised, suspended.
CREATE FUNCTION tenancy.apply_event(event text) RETURNS TABLE (tenant uuid, member uuid, effect text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'e2', 12);
  kind text := p[4];
  -- A word from far ahead would be the last one for as long.
  at_ms bigint := least(p[8]::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 300000);
  said text := nullif(convert_from(decode(p[9], 'hex'), 'UTF8'), '');
  of_tenant uuid := (SELECT s.tenant_id FROM tenancy.studios s WHERE s.organization = p[5]);
BEGIN
  IF NOT tenancy.is_new(p[3]) THEN RETURN; END IF;
  IF kind IN ('user_gone', 'banned') THEN
    UPDATE tenancy.sessions v SET ended_at = clock_timestamp(), provider_at_ms = greatest(v.provider_at_ms, at_ms)
      WHERE v.subject = p[6] AND v.ended_at IS NULL;
  END IF;
  IF kind IN ('user', 'user_gone') THEN
    RETURN QUERY SELECT h.* FROM
      (SELECT m.tenant_id FROM tenancy.members m WHERE m.subject = p[6] ORDER BY m.tenant_id) m,
      LATERAL tenancy.hear_of_member(m.tenant_id, p[6], p[3], kind, p[7], at_ms, said) h WHERE h.effect IS NOT NULL;
  ELSIF of_tenant IS NULL THEN
    RETURN;
  ELSIF kind IN ('member', 'gone', 'absent') THEN
    RETURN QUERY SELECT h.* FROM tenancy.hear_of_member(of_tenant, p[6], p[3], kind, p[7], at_ms, said) h
      WHERE h.effect IS NOT NULL;
  ELSIF kind = 'accepted' THEN
    RETURN QUERY SELECT h.* FROM tenancy.hear_of_acceptance(of_tenant, p[6], p[3], said) h WHERE h.effect IS NOT NULL;
  ELSIF kind = 'uninvited' THEN
    RETURN QUERY UPDATE tenancy.members m SET state = 'removed', version = m.version + 1, updated_at = clock_timestamp()
      WHERE m.tenant_id = of_tenant AND m.invitation = said AND m.subject IS NULL AND m.state = 'pending'
      RETURNING m.tenant_id, m.id, tenancy.effect_of(m, m, p[3]);
  ELSIF kind = 'organization_gone' THEN
    RETURN QUERY UPDATE tenancy.studios s SET suspended_at = clock_timestamp(), epoch = s.epoch + 1,
        status = CASE WHEN s.status = 'active' THEN 'suspended' ELSE s.status END
      WHERE s.tenant_id = of_tenant AND s.suspended_at IS NULL RETURNING s.tenant_id, NULL::uuid, 'suspended';
    IF FOUND THEN
      PERFORM ledger.note_service(of_tenant, 'clerk', p[3], 'studio.suspend', 'studio', ARRAY[of_tenant]);
    END IF;
  END IF;
END $$;

-- Waits until no transaction of a member is under way, and ends those that will not end:
-- d1|key|tenant|member|expires at|nonce|mac. Called after the member was lowered or removed, so that
-- nobody enters anew as what they were. Gives how many were ended.
CREATE FUNCTION tenancy.drain_member(request text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(request, 'd1', 7);
BEGIN
  RETURN (SELECT tenancy.take_lock(m.lock_key, '500 ms') FROM tenancy.members m
    WHERE m.tenant_id = p[3]::uuid AND m.id = p[4]::uuid);
END $$;

-- Adds to a member what was learnt after the row was made, once:
-- f1|key|tenant|member|email or invitation|value|index of the address|expires at|nonce|mac, both in
-- hexadecimal digits.
CREATE FUNCTION tenancy.complete_member(fact text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(fact, 'f1', 10);
BEGIN
  UPDATE tenancy.members m SET
      email_index = CASE WHEN p[5] = 'email' AND m.email IS NULL THEN decode(p[7], 'hex') ELSE m.email_index END,
      email = CASE WHEN p[5] = 'email' THEN coalesce(m.email, decode(p[6], 'hex')) ELSE m.email END,
      invitation = CASE WHEN p[5] = 'invitation' THEN coalesce(m.invitation, convert_from(decode(p[6], 'hex'), 'UTF8')) ELSE m.invitation END
    WHERE m.tenant_id = p[3]::uuid AND m.id = p[4]::uuid;
  RETURN FOUND;
END $$;

-- The members of one studio, or of every one, for comparing them with those that the provider has:
-- q1|key|tenant or nothing|expires at|nonce|mac. `now_ms` is when, by our clock.
CREATE FUNCTION tenancy.people_known(question text) RETURNS TABLE (
  now_ms bigint, tenant uuid, organization text, member uuid, subject text, invitation text, email bytea,
  role text, state text, provider_role text, provider_removed boolean, suspended boolean
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(question, 'q1', 6);
BEGIN
  RETURN QUERY SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, s.tenant_id, s.organization, m.id, m.subject,
      m.invitation, m.email, m.ceiling, m.state, m.provider_role, m.provider_removed, s.suspended_at IS NOT NULL
    FROM tenancy.studios s JOIN tenancy.members m ON m.tenant_id = s.tenant_id
    WHERE p[3] = '' OR s.tenant_id = nullif(p[3], '')::uuid ORDER BY s.tenant_id, m.id;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.apply_event(text), tenancy.drain_member(text), tenancy.complete_member(text),
  tenancy.people_known(text) TO {app}_app;

SET LOCAL ROLE {app}_owner;
-- Of statements of the app role only: the provider may take even the last owner away.
CREATE TRIGGER in_turn BEFORE UPDATE ON tenancy.members FOR EACH STATEMENT
  WHEN (current_user = '{app}_app') EXECUTE FUNCTION tenancy.members_in_turn();
CREATE TRIGGER keep_an_owner AFTER UPDATE ON tenancy.members REFERENCING OLD TABLE AS old_members NEW TABLE AS new_members
  FOR EACH STATEMENT WHEN (current_user = '{app}_app') EXECUTE FUNCTION tenancy.members_keep_an_owner();
REVOKE CREATE ON SCHEMA tenancy FROM {app}_gate;
