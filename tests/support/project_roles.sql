-- Roles of a hosted project, as far as our SQL uses them.
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
