-- In which order the rows of the product's tables go when a studio is closed.

SET LOCAL ROLE {app}_owner;
SELECT custody.entrust('studio.settings');
SELECT custody.shreds(10, 'studio.deliveries'), custody.shreds(20, 'studio.booking_versions'), custody.shreds(30, 'studio.occupancy'),
  custody.shreds(31, 'studio.time_off'),
  custody.shreds(40, 'studio.bookings', 'NOT EXISTS (SELECT FROM studio.bookings c WHERE c.tenant_id = t.tenant_id AND c.challenged_by = t.id)'),
  custody.shreds(50, 'studio.phases'), custody.shreds(51, 'studio.projects'), custody.shreds(60, 'studio.holidays'),
  custody.shreds(61, 'studio.webhooks'), custody.shreds(90, 'studio.artists'), custody.shreds(91, 'studio.settings');
