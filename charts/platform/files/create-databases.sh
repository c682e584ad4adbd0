# Sourced by the image's entrypoint, once, on an empty volume: a role and a database for each user of this server.
# Changing a password later: ALTER ROLE ... PASSWORD, then the Secret.
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv bikeshare_password BIKESHARE_PASSWORD
\getenv mlflow_password MLFLOW_PASSWORD
CREATE ROLE bikeshare LOGIN PASSWORD :'bikeshare_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE bikeshare OWNER bikeshare;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE bikeshare, mlflow FROM PUBLIC;
SQL
