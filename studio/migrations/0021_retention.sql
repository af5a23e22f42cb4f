-- When the product's rows are over, in the order in which they go: what refers to others goes before them.

SET LOCAL ROLE {app}_owner;
SELECT custody.entrust(rel) FROM unnest(ARRAY['studio.artists', 'studio.projects', 'studio.phases', 'studio.holidays', 'studio.bookings', 'studio.booking_versions',
  'studio.occupancy', 'studio.time_off', 'studio.webhooks', 'studio.deliveries']::regclass[]) rel;
SELECT custody.retains('deliveries', 10, 'studio.deliveries', since => 't.updated_at', is_over => 't.state <> ''pending''', least_days => 7),
  custody.retains('webhooks', 20, 'studio.webhooks', since => 't.archived_at', least_days => 30,
    is_over => 't.archived_at IS NOT NULL AND NOT EXISTS (SELECT FROM studio.deliveries d WHERE d.tenant_id = t.tenant_id AND d.webhook_id = t.id)'),
  custody.retains('time_off', 30, 'studio.time_off', since => 't.ends_at', is_over => 'true', least_days => 90,
    with_rels => '{studio.occupancy}', with_columns => '{source_id}'),
  custody.retains('holidays', 35, 'studio.holidays', since => 't.day::timestamptz', is_over => 'true', least_days => 90),
  custody.retains('bookings', 40, 'studio.bookings', since => 'greatest(t.ends_at, t.updated_at)', least_days => 365,
    -- One that another is still challenged by stays with that one.
    is_over => '(t.archived_at IS NOT NULL OR t.state IN (''completed'', ''released'', ''cancelled''))
      AND NOT EXISTS (SELECT FROM studio.bookings c WHERE c.tenant_id = t.tenant_id AND c.challenged_by = t.id)',
    with_rels => '{studio.deliveries,studio.booking_versions,studio.occupancy}', with_columns => '{booking_id,source_id,source_id}'),
  custody.retains('projects', 50, 'studio.projects', since => 'greatest(t.ends_on::timestamptz, t.updated_at)', least_days => 365,
    is_over => '(t.archived_at IS NOT NULL OR t.status = ''finished'')
      AND NOT EXISTS (SELECT FROM studio.bookings b WHERE b.tenant_id = t.tenant_id AND b.project_id = t.id)',
    with_rels => '{studio.phases}', with_columns => '{project_id}'),
  custody.retains('artists', 60, 'studio.artists', since => 't.archived_at', least_days => 90, is_person => true,
    is_over => 't.archived_at IS NOT NULL AND (t.name <> ''(removed)'' OR t.notes <> '''' OR t.zone IS NOT NULL OR cardinality(t.skills) > 0
      OR num_nonnulls(t.working_hours, t.email, t.phone, t.legal_name, t.tax_id, t.address, t.bank) > 0)',
    changes => '{name,reference,notes,zone,skills,working_hours,email,phone,legal_name,tax_id,address,bank}',
    blanks => 'name = ''(removed)'', reference = DEFAULT, notes = '''', zone = NULL, working_hours = NULL, skills = ''{}'', email = NULL, phone = NULL, legal_name = NULL,
      tax_id = NULL, address = NULL, bank = NULL');
-- What a studio decided of the days, by the rules' names; null: the product's own.
ALTER TABLE studio.settings ADD retention jsonb CHECK (jsonb_typeof(retention) = 'object');
GRANT UPDATE (retention) ON studio.settings TO {app}_app;
