-- What of the product goes into a studio's archive, and what of it a restore brings back: the studio's work. Who may
-- come in and what is told outward is in the archive and stays as it is.

SET LOCAL ROLE {app}_owner;
SELECT custody.archives('studio.settings', 10),
  custody.archives('studio.artists', 20, people => '{id}', blanked => 'name'),
  custody.archives('studio.projects', 30),
  custody.archives('studio.phases', 40),
  custody.archives('studio.holidays', 50),
  custody.archives('studio.bookings', 60, people => '{artist_id}'),
  custody.archives('studio.booking_versions', 70, people => '{artist_id}'),
  custody.archives('studio.occupancy', 80, people => '{artist_id}'),
  custody.archives('studio.time_off', 90, people => '{artist_id}'),
  custody.archives('tenancy.members', 200, is_restored => false, people => '{id,artist_id}', blanked => 'name'),
  custody.archives('studio.webhooks', 210, is_restored => false),
  custody.archives('studio.deliveries', 220, is_restored => false),
  custody.archives('custody.legal_holds', 230, is_restored => false);
SELECT custody.follow('studio.deliveries', 'deliveries_booking', is_removed => true);
SELECT custody.follow(k.conrelid::regclass, k.conname, is_removed => false)
  FROM pg_constraint k WHERE k.conrelid = 'tenancy.members'::regclass AND k.confrelid = 'studio.artists'::regclass;
SELECT custody.check_late();

-- What comes back is nothing new: it has its time and its versions already, and nobody is told. Of bookings the same is
-- said where people are erased.
DO $quiet$
DECLARE
  t record;
  text text;
BEGIN
  FOR t IN SELECT * FROM (VALUES ('keep', 'studio.time_off'), ('tell', 'studio.booking_versions'),
    ('mail', 'studio.booking_versions')) v(name, rel)
  LOOP
    SELECT pg_get_triggerdef(g.oid) INTO STRICT text FROM pg_trigger g WHERE g.tgrelid = t.rel::regclass AND g.tgname = t.name;
    EXECUTE format('DROP TRIGGER %I ON %s', t.name, t.rel);
    EXECUTE replace(text, ' EXECUTE FUNCTION ',
      ' WHEN (current_user <> ''{app}_custody'') EXECUTE FUNCTION ');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.rel, t.name);
  END LOOP;
END $quiet$;
