-- Roles and what PUBLIC loses: run by `install` as an administrator, every time, and nothing later
-- needs an administrator. CREATEROLE and ownership of the database suffice; what only a superuser
-- can do is done where it is one, and named by `doctor` where it was not.
-- {app} is the product's prefix, checked by the installer against [a-z][a-z0-9_]{0,30}.

DO $roles$
DECLARE
  suffix text;
BEGIN
  -- NOLOGIN: owner owns every table; gate owns the functions that must look before a tenant is
  -- known; ledger owns the ledger's functions and key; custody owns those that remove; digest and
  -- backfill own next to nothing but their policies; ops is the group of the operators.
  FOREACH suffix IN ARRAY ARRAY['owner', 'gate', 'ledger', 'digest', 'backfill', 'custody', 'ops'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{app}_' || suffix) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT NOCREATEDB NOCREATEROLE', '{app}_' || suffix);
    END IF;
  END LOOP;
  -- LOGIN: app is the server; migrate applies migrations; operator is the first operator, further
  -- ones are logins of their own in the same group.
  FOREACH suffix IN ARRAY ARRAY['app', 'migrate', 'operator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{app}_' || suffix) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT NOCREATEDB NOCREATEROLE', '{app}_' || suffix);
    END IF;
  END LOOP;
END $roles$;

-- The migrating login inherits nothing: each step says whose it is with SET ROLE.
GRANT {app}_owner, {app}_gate, {app}_ledger, {app}_digest, {app}_backfill, {app}_custody TO {app}_migrate;
-- INHERIT first: since PostgreSQL 16 a grant remembers what the member was when it was made.
ALTER ROLE {app}_operator INHERIT;
REVOKE {app}_ops FROM {app}_operator;
GRANT {app}_ops TO {app}_operator;
-- pg_signal_backend works by membership, inside the function that ends a frozen studio's backends.
ALTER ROLE {app}_gate INHERIT;

ALTER ROLE {app}_app SET search_path = pg_catalog;
ALTER ROLE {app}_app SET statement_timeout = '5s';
ALTER ROLE {app}_app SET lock_timeout = '2s';
ALTER ROLE {app}_app SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE {app}_app SET timezone = 'UTC';
ALTER ROLE {app}_app SET datestyle = 'ISO, YMD';
-- A forced owner's UPDATE touches no row and says nothing; with row_security off it is an error.
ALTER ROLE {app}_migrate SET row_security = off;

DO $database$
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO {app}_app, {app}_migrate, {app}_ops', current_database());
  EXECUTE format('GRANT CREATE ON DATABASE %I TO {app}_owner', current_database());
  -- For what a restore brings back, until its transaction ends.
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {app}_custody', current_database());
END $database$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;
GRANT USAGE ON SCHEMA public TO {app}_owner;

-- All studios are one role to PostgreSQL, so whatever PUBLIC may do to another session is a channel
-- between studios: advisory locks, signals, activity, large objects, notifications, sleeping.
DO $public$
DECLARE
  f regprocedure;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RAISE NOTICE 'not a superuser: PUBLIC keeps its rights in pg_catalog';
    RETURN;
  END IF;
  FOR f IN
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND (proname ~ '^pg_(try_)?advisory_'
        OR proname ~ '^(lo_|loread|lowrite|pg_xact_commit|pg_last_committed|pg_stat_get_backend_)'
        OR proname ~ '^(query|table|cursor|schema|database)_to_xml'
        OR proname IN ('pg_terminate_backend', 'pg_cancel_backend', 'pg_lock_status',
          'pg_stat_get_activity', 'pg_notify', 'pg_logical_emit_message', 'pg_export_snapshot',
          'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids', 'pg_listening_channels',
          'pg_notification_queue_usage', 'pg_sleep', 'pg_sleep_for', 'pg_sleep_until',
          'pg_stat_reset'))
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
  REVOKE SELECT ON pg_locks, pg_stat_activity, pg_largeobject_metadata, pg_cursors,
    pg_prepared_statements, pg_stat_ssl, pg_stat_gssapi FROM PUBLIC;
  GRANT EXECUTE ON FUNCTION pg_try_advisory_xact_lock_shared(bigint), pg_try_advisory_xact_lock(bigint),
    pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint),
    pg_lock_status(), pg_terminate_backend(int, bigint) TO {app}_gate;
  GRANT SELECT ON pg_locks TO {app}_gate;
END $public$;

DO $signal$
BEGIN
  GRANT pg_signal_backend TO {app}_gate;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'freezing cannot end backends: grant pg_signal_backend to {app}_gate';
END $signal$;
