-- Artists, bookings, and the one table that says when an artist's time is taken.

SET LOCAL ROLE {app}_owner;
CREATE SCHEMA studio;
GRANT USAGE ON SCHEMA studio TO {app}_app, {app}_gate, {app}_digest;

CREATE TABLE studio.artists (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL DEFAULT 'freelancer' CHECK (kind IN ('staff', 'freelancer')),
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  skills text[] NOT NULL DEFAULT '{}' CHECK (cardinality(skills) <= 32),
  zone text CHECK (length(zone) BETWEEN 1 AND 64),
  notes text NOT NULL DEFAULT '' CHECK (length(notes) <= 10000),
  -- Sealed by the vault; the database never sees them in clear.
  email bytea,
  phone bytea,
  legal_name bytea,
  tax_id bytea,
  address bytea,
  bank bytea,
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX artists_by_name ON studio.artists (tenant_id, name, id);
CREATE INDEX artists_by_creation ON studio.artists (tenant_id, created_at, id);

CREATE TABLE studio.bookings (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  reference text NOT NULL CHECK (length(reference) BETWEEN 1 AND 32),
  artist_id uuid NOT NULL,
  title text NOT NULL DEFAULT '' CHECK (length(title) <= 200),
  state text NOT NULL CHECK (state IN ('pencil', 'confirmed', 'cancelled')),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  notes text NOT NULL DEFAULT '' CHECK (length(notes) <= 10000),
  reason text CHECK (length(reason) <= 500),
  payable boolean,
  archived_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT bookings_reference UNIQUE (tenant_id, reference),
  CONSTRAINT bookings_window CHECK (starts_at < ends_at),
  CONSTRAINT bookings_artist FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id)
);
CREATE INDEX bookings_by_time ON studio.bookings (tenant_id, starts_at, id);
CREATE INDEX bookings_by_artist ON studio.bookings (tenant_id, artist_id, starts_at, id);
CREATE INDEX bookings_by_creation ON studio.bookings (tenant_id, created_at, id);

-- When an artist's time is taken, by whatever takes it. The exclusion is the last wall against
-- double booking; before it, every change takes a lock on the artist's row, so that the constraint
-- answers at once instead of by deadlock. A row never goes away: `blocks` is lowered.
SET LOCAL search_path = pg_catalog, public;
CREATE TABLE studio.occupancy (
  tenant_id uuid NOT NULL REFERENCES tenancy.studios,
  id uuid NOT NULL,
  version integer NOT NULL DEFAULT 1,
  artist_id uuid NOT NULL,
  slice tstzrange NOT NULL CHECK (NOT isempty(slice)),
  kind text NOT NULL CHECK (kind IN ('booking', 'time_off')),
  source_id uuid NOT NULL,
  blocks boolean NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT occupancy_artist FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id),
  CONSTRAINT occupancy_no_double EXCLUDE USING gist (tenant_id WITH =, artist_id WITH =, slice WITH &&) WHERE (blocks)
);
SET LOCAL search_path = pg_catalog;
CREATE INDEX occupancy_by_source ON studio.occupancy (tenant_id, source_id);

SELECT tenancy.protect('studio.artists', own_column => 'id');
SELECT tenancy.protect('studio.bookings', own_column => 'artist_id');
SELECT tenancy.protect('studio.occupancy', own_column => 'artist_id');

GRANT SELECT, INSERT, UPDATE (version, updated_at, kind, name, skills, zone, notes, email, phone, legal_name,
  tax_id, address, bank, archived_at) ON studio.artists TO {app}_app;
GRANT SELECT, INSERT, UPDATE (version, updated_at, artist_id, title, state, starts_at, ends_at, notes, reason,
  payable, archived_at) ON studio.bookings TO {app}_app;
GRANT SELECT, INSERT, UPDATE (version, blocks) ON studio.occupancy TO {app}_app;

-- A member's artist is an artist of the same studio.
SELECT tenancy.add_reference('tenancy.members', 'members_artist',
  'FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id)');
