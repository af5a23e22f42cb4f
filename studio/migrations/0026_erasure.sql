-- Where the product's tables have people in them, in the order in which that goes. Titles stay: they name
-- the work.

SET LOCAL ROLE {app}_owner;
SELECT custody.erases(30, 'studio.deliveries', 'member_id'),
  custody.erases(40, 'studio.occupancy', 'artist_id', says => 't.kind = ''time_off'''),
  custody.erases(41, 'studio.time_off', 'artist_id'),
  custody.erases(50, 'studio.booking_versions', 'artist_id', says => 't.notes <> '''' OR t.reason IS NOT NULL',
    blanks => '{"notes": "", "reason": null}'),
  custody.erases(51, 'studio.bookings', 'artist_id', says => 't.notes <> '''' OR t.reason IS NOT NULL',
    blanks => '{"notes": "", "reason": null}'),
  custody.erases(80, 'studio.artists', 'id', ready => 't.archived_at IS NOT NULL',
    says => 't.name <> ''(removed)'' OR t.notes <> '''' OR t.zone IS NOT NULL OR cardinality(t.skills) > 0
      OR num_nonnulls(t.working_hours, t.email, t.phone, t.legal_name, t.tax_id, t.address, t.bank) > 0',
    blanks => '{"name": "(removed)", "reference": "A-{id}", "notes": "", "zone": null, "working_hours": null, "skills": [],
      "email": null, "phone": null, "legal_name": null, "tax_id": null, "address": null, "bank": null}');
-- What was erased of a booking is no new version of it: nobody is told, and its time is as it was.
DROP TRIGGER keep ON studio.bookings;
CREATE TRIGGER keep AFTER INSERT OR UPDATE ON studio.bookings FOR EACH ROW
  WHEN (current_user <> '{app}_custody') EXECUTE FUNCTION studio.keep_booking();
ALTER TABLE studio.bookings ENABLE ALWAYS TRIGGER keep;
