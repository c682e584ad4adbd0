"""Containers through the Docker command line, always under the flags of a restricted pod."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESTRICTED = (
    "--read-only", "--user", "10001:10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--tmpfs", "/tmp", "--tmpfs", "/var/lib/bikeshare:uid=10001,gid=10001,mode=0700",
)


class Docker:
    """One daemon; what was started here is removed by `clean`."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._started: list[str] = []
        self._networks: list[str] = []
        self._volumes: list[str] = []
        self._began: dict[str, float] = {}

    def __call__(self, *arguments: str, seconds: float = 120) -> str:
        """Output of one command; RuntimeError with its errors when it fails."""
        done = subprocess.run([self._client, *arguments], capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-6000:]}")
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """The document of an image, a container or a network."""
        document: dict[str, Any] = json.loads(self("inspect", name))[0]
        return document

    def network(self, name: str) -> str:
        """Make a network; the address under which its containers reach this machine."""
        self("network", "create", name)
        self._networks.append(name)
        return str(self.inspect(name)["IPAM"]["Config"][0]["Gateway"])

    def volume(self, name: str) -> str:
        """Make a volume in memory that our user may write, like an emptyDir that two containers of a pod share."""
        kind = ("--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=uid=10001,mode=0700")
        self._volumes.append(self("volume", "create", *kind, name))
        return name

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), seconds: float = 120) -> str:
        """Run a job to its end under the restricted flags; its standard output."""
        return self("run", "--rm", *RESTRICTED, *options, image, *command, seconds=seconds)

    def attempt(self, image: str, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a job that may fail."""
        return subprocess.run(
            [self._client, "run", "--rm", *RESTRICTED, *options, image, *command],
            capture_output=True, text=True, timeout=120,
        )

    def start(self, image: str, *command: str, name: str, options: tuple[str, ...] = ()) -> str:
        """Start a server under the restricted flags; its name."""
        self._started.append(name)
        self._began[name] = time.monotonic()
        self("run", "--detach", "--name", name, *RESTRICTED, *options, image, *command)
        return name

    def stop(self, name: str) -> int:
        """SIGTERM, 30 s of grace; the exit code."""
        self("stop", "--time", "30", name)
        return int(self.inspect(name)["State"]["ExitCode"])

    def address(self, name: str) -> str:
        """Address of a running container, reachable from this machine."""
        networks = self.inspect(name)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def logs(self, name: str) -> str:
        """Everything the container wrote."""
        done = subprocess.run([self._client, "logs", name], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def wait(self, name: str, what: str, ready: Callable[[], bool], seconds: float = 120) -> float:
        """Poll until `ready`; seconds since `docker run`. RuntimeError with the logs when it does not come."""
        asked = time.monotonic()
        while not self._holds(ready):
            if not self.inspect(name)["State"]["Running"] or time.monotonic() - asked > seconds:
                raise RuntimeError(f"{name}: no sign of {what} within {seconds:.0f} s:\n{self.logs(name)[-6000:]}")
            time.sleep(0.1)
        return time.monotonic() - self._began[name]

    @staticmethod
    def _holds(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except OSError:
            return False

    def clean(self) -> None:
        """Remove what was started here."""
        for name in self._started:
            subprocess.run([self._client, "rm", "--force", "--volumes", name], capture_output=True, timeout=60)
        for kind, names in (("network", self._networks), ("volume", self._volumes)):
            for name in names:
                subprocess.run([self._client, kind, "rm", name], capture_output=True, timeout=60)

    def image_bytes(self, image: str) -> "subprocess.Popen[bytes]":
        """The image as `docker save` writes it: manifests and uncompressed layers on standard output."""
        return subprocess.Popen([self._client, "save", image], stdout=subprocess.PIPE)


def environment(values: Mapping[str, str]) -> tuple[str, ...]:
    """Options that set these variables."""
    return tuple(part for name, value in values.items() for part in ("--env", f"{name}={value}"))


def mount(source: Path, target: str) -> tuple[str, ...]:
    """Options that mount a folder of this machine read-only."""
    return ("--volume", f"{source}:{target}:ro")
