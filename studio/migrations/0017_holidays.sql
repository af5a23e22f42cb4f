-- Days on which a studio does not work, and hours in which an artist does.

SET LOCAL ROLE {app}_owner;
CREATE TABLE studio.holidays (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  day date NOT NULL,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX holidays_by_day ON studio.holidays (tenant_id, day, id);

SELECT tenancy.protect('studio.holidays');
GRANT SELECT, INSERT, UPDATE (version, updated_at, day, name, archived_at) ON studio.holidays TO {app}_app;

-- Where an artist works other hours than the studio.
ALTER TABLE studio.artists ADD COLUMN working_hours jsonb;
GRANT UPDATE (working_hours) ON studio.artists TO {app}_app;
