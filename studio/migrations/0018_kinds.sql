-- What a booking's time is for: work, or the way there and back.

SET LOCAL ROLE {app}_owner;
ALTER TABLE studio.bookings ADD COLUMN kind text NOT NULL DEFAULT 'work' CHECK (kind IN ('work', 'travel')),
  ALTER kind SET STATISTICS 0;
ALTER TABLE studio.booking_versions ADD COLUMN kind text NOT NULL DEFAULT 'work';
GRANT UPDATE (kind) ON studio.bookings TO {app}_app;
