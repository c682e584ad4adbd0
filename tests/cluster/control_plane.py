"""A real Kubernetes control plane on free loopback ports: etcd, API server, controllers, scheduler. No nodes."""

import base64
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes import client, config

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0


@dataclass(frozen=True)
class ControlPlane:
    """Where it listens and how to talk to it."""

    url: str
    kubeconfig: Path
    binaries: str

    def api(self, *, impersonate: str = "") -> client.ApiClient:
        """A client of the administrator, or of the user it acts for."""
        configuration = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)
        made = client.ApiClient(configuration)
        if impersonate:
            made.set_default_header("Impersonate-User", impersonate)
        return made

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run kubectl as the administrator; a failure shows what it printed."""
        return run([binary("kubectl", self.binaries), *arguments], self.environment(), stdin=stdin, check=check)

    def apply(self, *documents: object) -> None:
        """Create or update objects server-side."""
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def environment(self) -> dict[str, str]:
        """Variables of a tool that is to talk to this control plane and to nothing else."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def run(
    arguments: list[str], environment: dict[str, str], *, stdin: str = "", check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run a tool and keep what it printed."""
    done = subprocess.run(arguments, env=environment, input=stdin, capture_output=True, text=True, timeout=240)
    if check and done.returncode:
        shown = " ".join(Path(word).name if word.startswith("/") else word for word in arguments)
        raise AssertionError(f"{shown} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def binary(name: str, binaries: str) -> str:
    """Full path of a control-plane program."""
    found = shutil.which(name, path=binaries)
    if found is None:
        raise AssertionError(f"{name} is not in {binaries}: run hack/envtest.sh")
    return found


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start everything in a folder, and stop it.

    Admission is what a cluster has by default, which includes Pod Security, ValidatingAdmissionPolicy and quotas;
    authorisation is RBAC. The administrator's token is made anew each time.
    """
    built = subprocess.run([str(ROOT / "hack" / "envtest.sh")], capture_output=True, text=True)
    if built.returncode:
        raise AssertionError(f"hack/envtest.sh ended with {built.returncode}:\n{built.stderr[-3000:]}")
    binaries = built.stdout.strip()
    etcd_port, peer_port, port = free_ports(3)
    token = secrets.token_hex(24)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    write_key(folder / "service-accounts.key")
    started: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(name: str, *arguments: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            started.append((name, subprocess.Popen(
                [binary(name, binaries), *arguments], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            )))

    etcd, peer = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    try:
        start(
            "etcd", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
        )
        start(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--allow-privileged",
            f"--cert-dir={folder / 'certificates'}", f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'service-accounts.key'}",
            f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
        )
        certificate = folder / "certificates" / "apiserver.crt"
        wait_for(certificate.exists, "the API server's certificate", started, folder)
        kubeconfig = folder / "kubeconfig"
        url = f"https://127.0.0.1:{port}"
        write_kubeconfig(kubeconfig, url, token, certificate.read_bytes())
        plane = ControlPlane(url, kubeconfig, binaries)
        wait_for(lambda: plane.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, "readiness", started,
                 folder)
        start(
            "kube-controller-manager", f"--kubeconfig={kubeconfig}", "--use-service-account-credentials",
            f"--service-account-private-key-file={folder / 'service-accounts.key'}", f"--root-ca-file={certificate}",
            "--leader-elect=false", "--secure-port=0", "--controllers=*,-node-lifecycle-controller",
        )
        start("kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")
        wait_for(lambda: plane.kubectl("get", "serviceaccount", "default", check=False).returncode == 0,
                 "the controllers", started, folder)
        yield plane
    finally:
        for _, process in reversed(started):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(done: object, what: str, started: list[tuple[str, "subprocess.Popen[bytes]"]], folder: Path) -> None:
    """Poll until it holds; a program that ended, or a wait that is too long, shows its log."""
    assert callable(done)
    deadline = time.monotonic() + START_SECONDS
    while not done():
        ended = [name for name, process in started if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            name = ended[0] if ended else started[-1][0]
            log = (folder / f"{name}.log").read_text(errors="replace")[-3000:]
            raise AssertionError(f"{what} did not come; {name} says:\n{log}")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def write_key(path: Path) -> None:
    """A private key that signs ServiceAccount tokens."""
    path.write_bytes(rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ))
    path.chmod(0o600)


def write_kubeconfig(path: Path, url: str, token: str, certificate: bytes) -> None:
    """How tools find the API server."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(certificate).decode()}
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }))
    path.chmod(0o600)
