-- Phases: the parts of a project.

SET LOCAL ROLE {app}_owner;
CREATE TABLE studio.phases (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  project_id uuid NOT NULL,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  starts_on date,
  ends_on date,
  -- Phases of the same project: the server looks, under the project's lock, that they are, and that no phase comes after
  -- itself. A phase that is archived stays named here, and is passed over.
  after uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(after) <= 20),
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT phases_dates CHECK (starts_on <= ends_on),
  CONSTRAINT phases_project FOREIGN KEY (tenant_id, project_id) REFERENCES studio.projects (tenant_id, id)
);
CREATE INDEX phases_by_start ON studio.phases (tenant_id, project_id, (coalesce(starts_on, 'infinity')), id);

SELECT tenancy.protect('studio.phases');
GRANT SELECT, INSERT, UPDATE (version, updated_at, name, starts_on, ends_on, after, archived_at) ON studio.phases TO {app}_app;
