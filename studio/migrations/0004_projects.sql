-- Projects: what bookings are for.

SET LOCAL ROLE {app}_owner;
CREATE TABLE studio.projects (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  code text NOT NULL CHECK (length(code) BETWEEN 1 AND 32),
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  client text NOT NULL DEFAULT '' CHECK (length(client) <= 200),
  status text NOT NULL DEFAULT 'planned' CHECK (status IN ('planned', 'active', 'finished')),
  starts_on date,
  ends_on date,
  budget_minor bigint CHECK (budget_minor BETWEEN 0 AND 1000000000000),
  budget_currency text CHECK (budget_currency ~ '^[A-Z]{3}$'),
  notes text NOT NULL DEFAULT '' CHECK (length(notes) <= 10000),
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT projects_code UNIQUE (tenant_id, code),
  CONSTRAINT projects_dates CHECK (starts_on <= ends_on),
  CONSTRAINT projects_budget CHECK (num_nulls(budget_minor, budget_currency) IN (0, 2))
);
CREATE INDEX projects_by_name ON studio.projects (tenant_id, name, id);
CREATE INDEX projects_by_creation ON studio.projects (tenant_id, created_at, id);
SELECT tenancy.protect('studio.projects');
GRANT SELECT, INSERT, UPDATE (version, updated_at, code, name, client, status, starts_on, ends_on, budget_minor,
  budget_currency, notes, archived_at) ON studio.projects TO {app}_app;

ALTER TABLE studio.bookings ADD COLUMN project_id uuid;
ALTER TABLE studio.booking_versions ADD COLUMN project_id uuid;
GRANT UPDATE (project_id) ON studio.bookings TO {app}_app;

-- Bookings from before get a project, so that every booking has one.
CREATE POLICY backfill_add ON studio.projects FOR INSERT TO {app}_backfill WITH CHECK (true);
GRANT INSERT ON studio.projects TO {app}_backfill;
SELECT tenancy.open_backfill('studio.bookings', ARRAY['tenant_id', 'version', 'deed', 'project_id']);
SELECT tenancy.open_backfill('studio.projects', ARRAY['tenant_id', 'id']);
SET LOCAL ROLE {app}_backfill;
SET LOCAL row_security = on;
INSERT INTO studio.projects (tenant_id, id, code, name)
  SELECT DISTINCT ON (b.tenant_id) b.tenant_id, gen_random_uuid(), 'EARLIER', 'Booked before there were projects'
  FROM studio.bookings b;
UPDATE studio.bookings b SET project_id = p.id, version = b.version + 1, deed = 'migrate'
  FROM studio.projects p WHERE p.tenant_id = b.tenant_id;
SET LOCAL ROLE {app}_owner;
SET LOCAL row_security = off;
SELECT tenancy.close_backfill('studio.projects'), tenancy.close_backfill('studio.bookings');
DROP POLICY backfill_add ON studio.projects;

ALTER TABLE studio.bookings ALTER project_id SET NOT NULL;
SELECT tenancy.add_reference('studio.bookings', 'bookings_project',
  'FOREIGN KEY (tenant_id, project_id) REFERENCES studio.projects (tenant_id, id)');
CREATE INDEX bookings_by_project ON studio.bookings (tenant_id, project_id, starts_at, id);

-- A freelancer sees the projects of the own bookings.
ALTER POLICY see ON studio.projects USING ((SELECT tenancy.sees_all())
  OR EXISTS (SELECT FROM studio.bookings b WHERE b.tenant_id = projects.tenant_id AND b.project_id = projects.id
    AND b.archived_at IS NULL AND b.artist_id = (SELECT tenancy.artist_id())));
