-- What people are told of an incident by mail: of an owner's word, or of two operators', and by the outbox that tells everything
-- else. Nobody who writes one sees an address.

SET LOCAL ROLE {app}_owner;
GRANT CREATE ON SCHEMA incident, studio TO {app}_gate;

CREATE TABLE incident.notices (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  incident_id uuid NOT NULL,
  -- The studio's owners, or whose records were touched in the window.
  addressee text NOT NULL CHECK (addressee IN ('owner', 'people')),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
  body text NOT NULL CONSTRAINT notices_body CHECK (length(body) BETWEEN 1 AND 10000),
  proposed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Logins of operators, or `member:ID` of an owner, as in incidents.
  proposed_by text NOT NULL,
  sent_at timestamptz,
  sent_by text,
  -- To how many members it went.
  mails integer NOT NULL DEFAULT 0,
  -- Records of the window whose people are not among them: those that entries count and do not name, and of an operator's
  -- notice all but people's own.
  unlisted bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, incident_id) REFERENCES incident.incidents,
  CONSTRAINT notices_window CHECK (ends_at > starts_at AND ends_at - starts_at <= interval '92 days 2 hours'),
  -- A draft has gaps for what only the studio knows.
  CONSTRAINT notices_gaps CHECK (strpos(body, '[') = 0),
  -- An owner's word is enough; of operators it takes two.
  CONSTRAINT notices_words CHECK (num_nonnulls(sent_at, sent_by) IN (0, 2) AND (sent_by <> proposed_by OR starts_with(proposed_by, 'member:')))
);
CREATE POLICY gate ON incident.notices TO {app}_gate USING (true) WITH CHECK (true);
CREATE POLICY digest ON incident.notices FOR SELECT TO {app}_digest USING (true);
ALTER TABLE incident.notices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE (sent_at, sent_by, mails, unlisted) ON incident.notices TO {app}_gate;
GRANT SELECT ON incident.notices TO {app}_digest;

ALTER TABLE studio.deliveries
  ADD COLUMN notice_id uuid,
  DROP CONSTRAINT deliveries_of_one_thing,
  ADD CONSTRAINT deliveries_of_one_thing CHECK (num_nonnulls(booking_id, booking_version) IN (0, 2) AND num_nonnulls(first_seq, last_seq) IN (0, 2)
    AND num_nonnulls(booking_id, first_seq, alert_id, notice_id) = 1 AND (first_seq IS NULL OR first_seq <= last_seq)),
  ADD CONSTRAINT deliveries_notice_once UNIQUE (tenant_id, member_id, notice_id);
SELECT tenancy.add_reference('studio.deliveries', 'deliveries_notice', 'FOREIGN KEY (tenant_id, notice_id) REFERENCES incident.notices (tenant_id, id)');

SET LOCAL ROLE {app}_gate;
-- Nothing leads to a member of which nobody gave the word: whoever writes the row.
CREATE FUNCTION studio.expect_word() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM incident.notices n WHERE n.tenant_id = NEW.tenant_id AND n.id = NEW.notice_id AND n.sent_at IS NOT NULL) THEN
    PERFORM incident.refuse('notices_words');
  END IF;
  RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION studio.expect_word() TO {app}_owner;

-- Notices of an incident, to the letter until they are sent: whoever gives the word for one has read it.
CREATE FUNCTION incident.notices_of(tenant uuid, which uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'whom', n.addressee, 'from', n.starts_at, 'to', n.ends_at, 'subject', n.subject, 'text', CASE WHEN n.sent_at IS NULL THEN n.body END,
      'proposed_at', n.proposed_at, 'proposed_by', n.proposed_by, 'sent_at', n.sent_at, 'sent_by', n.sent_by, 'mails', n.mails,
      'unlisted', n.unlisted)
      ORDER BY n.proposed_at, n.id), '[]')
    FROM incident.notices n WHERE n.tenant_id = tenant AND n.incident_id = which);
END $$;

-- Keeps one that nobody has sent yet.
CREATE FUNCTION incident.keep_notice(tenant uuid, which uuid, notice uuid, addressee text, first timestamptz, until timestamptz, subject text, body text, by text)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT count(*) FROM incident.notices n WHERE n.tenant_id = tenant AND n.incident_id = which) >= 20 THEN
    PERFORM incident.refuse('notices_most');
  END IF;
  INSERT INTO incident.notices (tenant_id, id, incident_id, addressee, starts_at, ends_at, subject, body, proposed_by)
    VALUES (tenant, notice, which, keep_notice.addressee, first, coalesce(until, clock_timestamp()), keep_notice.subject, keep_notice.body, by);
END $$;

-- Sends it to whoever it is for and has an address here, whether or not they want other mails. Gives to how many.
CREATE FUNCTION incident.post(tenant uuid, notice uuid, by text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  it incident.notices;
  about record;
  ids uuid[];
  people uuid[];
  unnamed bigint := 0;
  many integer;
BEGIN
  UPDATE incident.notices n SET sent_at = clock_timestamp(), sent_by = by WHERE n.tenant_id = tenant AND n.id = notice AND n.sent_at IS NULL RETURNING * INTO it;
  IF NOT FOUND THEN PERFORM incident.refuse('notices_sent'); END IF;
  IF it.addressee = 'people' THEN
    SELECT * INTO about FROM incident.about(tenant, it.incident_id);
    SELECT t.ids, t.numbers ->> 'unlisted' INTO ids, unnamed
      FROM ledger.touched(tenant, it.starts_at, it.ends_at, about.actors, about.digests, about.addresses) t;
    -- A booking is its artist's, and its entry names it alone. Whose it is shows in the studio's own context and in no other.
    people := ids || ARRAY(SELECT custody.people_in(tenant, ids));
    IF tenancy.tenant_id() IS DISTINCT FROM tenant THEN
      unnamed := unnamed + (SELECT count(*) FROM unnest(ids) i WHERE NOT EXISTS (
        SELECT FROM tenancy.members m WHERE m.tenant_id = tenant AND (m.id = i OR m.artist_id = i)));
    END IF;
  END IF;
  INSERT INTO studio.deliveries (tenant_id, id, member_id, notice_id)
    SELECT m.tenant_id, gen_random_uuid(), m.id, notice FROM tenancy.members m
    WHERE m.tenant_id = tenant AND m.email IS NOT NULL AND m.state = 'active' AND NOT m.provider_removed AND CASE it.addressee
      WHEN 'owner' THEN m.ceiling = 'owner' AND m.provider_role = 'owner'
      ELSE m.id = ANY (people) OR m.artist_id = ANY (people) END;
  GET DIAGNOSTICS many = ROW_COUNT;
  IF many = 0 THEN PERFORM incident.refuse('notices_nobody'); END IF;
  UPDATE incident.notices n SET mails = many, unlisted = unnamed WHERE n.tenant_id = tenant AND n.id = notice;
  PERFORM jobs.schedule(tenant, 'deliveries', clock_timestamp());
  RETURN many;
END $$;

-- One operator says what is to be sent, of an incident that was confirmed.
CREATE FUNCTION incident.propose(tenant uuid, which uuid, addressee text, first timestamptz, until timestamptz, subject text, body text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
  made uuid := gen_random_uuid();
BEGIN
  IF it.confirmed_at IS NULL THEN PERFORM incident.refuse('incidents_unconfirmed'); END IF;
  -- Of whole hours, as the numbers of an impact are: window by window it would tell one request from the next.
  PERFORM incident.keep_notice(tenant, which, made, propose.addressee, date_trunc('hour', first),
      date_trunc('hour', coalesce(until, clock_timestamp())) + interval '1 hour' - interval '1 microsecond', propose.subject, propose.body, session_user),
    ledger.note_because(tenant, propose.subject, 'incident.propose', 'incident', ARRAY[which, made]);
  RETURN made;
END $$;

-- Another one sends it.
CREATE FUNCTION incident.send(tenant uuid, which uuid, notice uuid, OUT mails integer, OUT unlisted bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  it incident.incidents := incident.take(tenant, which);
  proposer text := (SELECT n.proposed_by FROM incident.notices n WHERE n.tenant_id = tenant AND n.incident_id = which AND n.id = notice);
BEGIN
  IF proposer IS NULL THEN PERFORM incident.refuse('notices_unknown'); END IF;
  IF proposer = session_user THEN PERFORM incident.refuse('notices_proposer'); END IF;
  mails := incident.post(tenant, notice, session_user);
  unlisted := (SELECT n.unlisted FROM incident.notices n WHERE n.tenant_id = tenant AND n.id = notice);
  PERFORM ledger.note_because(tenant, it.reason, 'incident.send', 'incident', ARRAY[which, notice]);
END $$;
GRANT EXECUTE ON FUNCTION incident.propose(uuid, uuid, text, timestamptz, timestamptz, text, text), incident.send(uuid, uuid, uuid) TO {app}_ops;

-- i9|key|tenant|incident|notice|whom|from, in microseconds|to|subject|body, both in hexadecimal|expires at|nonce|mac: an owner sends one.
CREATE FUNCTION incident.send_mine(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
DECLARE
  p text[] := tenancy.verified(event, 'i9', 13);
  owner text := incident.expect_owner(p[3]);
BEGIN
  PERFORM incident.take(p[3]::uuid, p[4]::uuid);
  PERFORM incident.keep_notice(p[3]::uuid, p[4]::uuid, p[5]::uuid, p[6], timestamptz 'epoch' + p[7]::bigint * interval '1 microsecond',
    timestamptz 'epoch' + p[8]::bigint * interval '1 microsecond', convert_from(decode(p[9], 'hex'), 'UTF8'), convert_from(decode(p[10], 'hex'), 'UTF8'), owner);
  PERFORM incident.post(p[3]::uuid, p[5]::uuid, owner);
END $$;

-- What is told of one that was sent, to the service that tells it.
CREATE FUNCTION incident.told(which uuid) RETURNS TABLE (tenant_id uuid, subject text, body text, sent_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS $$
#variable_conflict use_column
BEGIN
  IF tenancy.role() IS DISTINCT FROM 'service' OR tenancy.actor() IS DISTINCT FROM 'delivery' THEN RETURN; END IF;
  RETURN QUERY SELECT n.tenant_id, n.subject, n.body, n.sent_at FROM incident.notices n
    WHERE n.tenant_id = tenancy.tenant_id() AND n.id = which AND n.sent_at IS NOT NULL;
END $$;
GRANT EXECUTE ON FUNCTION incident.send_mine(text), incident.told(uuid) TO {app}_app;

SET LOCAL ROLE {app}_owner;
CREATE TRIGGER expect_word BEFORE INSERT ON studio.deliveries FOR EACH ROW WHEN (NEW.notice_id IS NOT NULL) EXECUTE FUNCTION studio.expect_word();
ALTER TABLE studio.deliveries ENABLE ALWAYS TRIGGER expect_word;
REVOKE CREATE ON SCHEMA incident, studio FROM {app}_gate;
-- As the incident that it is about.
SELECT custody.entrust('incident.notices'), custody.shreds(87, 'incident.notices');
