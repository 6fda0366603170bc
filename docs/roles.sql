-- Roles, logins and the database of a creditshare service. Once, as the server's administrator, with psql 15 or newer:
--
--   CREDITSHARE_OWNER_PASSWORD=… CREDITSHARE_APP_PASSWORD=… CREDITSHARE_WORKER_PASSWORD=… CREDITSHARE_ERASER_PASSWORD=… \
--     psql -X -v ON_ERROR_STOP=1 -f docs/roles.sql
--
-- Each process has a login that can do what that process is there for and nothing else; the service refuses to start
-- in production with a login that can do more.

\getenv owner_password CREDITSHARE_OWNER_PASSWORD
\getenv app_password CREDITSHARE_APP_PASSWORD
\getenv worker_password CREDITSHARE_WORKER_PASSWORD
\getenv eraser_password CREDITSHARE_ERASER_PASSWORD

-- The statements below hold passwords: not into the server's log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

CREATE ROLE creditshare_owner NOLOGIN;         -- owns all tables; migrations, backup, restore
CREATE ROLE creditshare_app NOLOGIN;           -- the service
CREATE ROLE creditshare_worker NOLOGIN;        -- the log's sequencer
CREATE ROLE creditshare_eraser NOLOGIN;        -- erasures, nothing else deletes
CREATE ROLE creditshare_regulator_ro NOLOGIN;  -- may read the log, the policy and told reports, of no borrower

CREATE ROLE creditshare_owner_login LOGIN PASSWORD :'owner_password' IN ROLE creditshare_owner;
CREATE ROLE creditshare_app_login LOGIN PASSWORD :'app_password' IN ROLE creditshare_app;
CREATE ROLE creditshare_worker_login LOGIN PASSWORD :'worker_password' IN ROLE creditshare_worker;
CREATE ROLE creditshare_eraser_login LOGIN PASSWORD :'eraser_password' IN ROLE creditshare_eraser;

-- What migrations make belongs to the group, so that another owner login may change it later.
ALTER ROLE creditshare_owner_login SET role = creditshare_owner;

CREATE DATABASE creditshare OWNER creditshare_owner ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
REVOKE ALL ON DATABASE creditshare FROM PUBLIC;
GRANT CONNECT ON DATABASE creditshare
    TO creditshare_owner, creditshare_app, creditshare_worker, creditshare_eraser, creditshare_regulator_ro;

-- No borrower's data in the server's log: no statements, no parameters, and no DETAIL, which quotes rows and keys.
ALTER DATABASE creditshare SET log_statement = 'none';
ALTER DATABASE creditshare SET log_min_duration_statement = -1;
ALTER DATABASE creditshare SET log_min_error_statement = 'panic';
ALTER DATABASE creditshare SET log_error_verbosity = 'terse';
ALTER DATABASE creditshare SET log_parameter_max_length = 0;
ALTER DATABASE creditshare SET log_parameter_max_length_on_error = 0;
