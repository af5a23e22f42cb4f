-- A name by which an artist is found again in a table, as bookings have a reference and projects a code.

SET LOCAL ROLE {app}_owner;
-- The default is another one for each row, those that are there included: it is computed on the heap itself.
ALTER TABLE studio.artists
  ADD COLUMN reference text NOT NULL DEFAULT 'A-' || upper(left(replace(gen_random_uuid()::text, '-', ''), 12))
    CHECK (length(reference) BETWEEN 1 AND 32),
  ADD CONSTRAINT artists_reference UNIQUE (tenant_id, reference);
