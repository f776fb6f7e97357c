-- Publication, schemas and extensions of a hosted project, as far as our SQL uses them. `create extension` finds the
-- extensions there.
create publication supabase_realtime;
create schema extensions;
create schema net;
create schema supabase_functions;
create function supabase_functions.http_request() returns trigger language plpgsql as 'begin return null; end';
create schema cron;
create table cron.job (jobname text primary key, schedule text, command text);
create function cron.schedule(text, text, text) returns bigint language sql as $$
    insert into cron.job values ($1, $2, $3) on conflict (jobname) do update set command = excluded.command returning 1::bigint
$$;
insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    values (90001, 'pg_cron', 10, 11, false, '1.6'), (90002, 'pg_net', 10, 11, false, '0.14');
