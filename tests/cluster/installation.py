"""Both charts installed by Helm on the control plane, as `hack/bootstrap.sh` and skaffold do it, without images."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import ROOT, ControlPlane, run
from tests.cluster.stand_in_kubelet import NODE

NAMESPACE = "bikeshare"
PIPELINES = "kubeflow"
PROMOTERS = (f"system:serviceaccount:{PIPELINES}:pipeline-runner", f"system:serviceaccount:{NAMESPACE}:promoter")
ENFORCED = {NAMESPACE: "restricted", PIPELINES: "baseline", "monitoring": "privileged"}

SECRETS = {
    "bikeshare": ("BIKESHARE_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "postgresql": ("postgres-password", "bikeshare-password", "mlflow-password"),
    "minio": ("root-user", "root-password", *(
        f"{user}-{key}-key" for user in ("bikeshare", "mlflow", "pipelines") for key in ("access", "secret")
    )),
    "mlflow": ("database-uri", "access-key", "secret-key"),
}
"""No container runs here, so nobody reads a value; a missing key would keep nothing from starting."""

KINDS = {
    "servicemonitors": ("monitoring.coreos.com", "v1", "ServiceMonitor"),
    "prometheusrules": ("monitoring.coreos.com", "v1", "PrometheusRule"),
    "scaledobjects": ("keda.sh", "v1alpha1", "ScaledObject"),
}
"""Plural -> group, version, kind."""


@dataclass(frozen=True)
class Helm:
    """The helm that hack/tools.sh installs, talking to the control plane."""

    path: str
    plane: ControlPlane
    charts: Path

    def __call__(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return run([self.path, *arguments], self.plane.environment(), check=check)

    def upgrade(self, chart: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """`helm upgrade --install` with the values for kind, then the arguments."""
        values = self.charts / chart / "values-kind.yaml"
        return self(
            "upgrade", "--install", chart, str(self.charts / chart), "--namespace", NAMESPACE, "--values", str(values),
            *arguments, check=check,
        )


def helm_for(plane: ControlPlane, folder: Path) -> Helm:
    """Helm, and a copy of the charts whose dependencies are built (the checkout stays as it is)."""
    tools = ROOT / "hack" / "tools.sh"
    subprocess.run([str(tools), "helm"], check=True, capture_output=True, text=True)
    path = Path(subprocess.run([str(tools), "--path"], check=True, capture_output=True, text=True).stdout.strip())
    charts = folder / "charts"
    shutil.copytree(ROOT / "charts", charts, ignore=shutil.ignore_patterns("*.tgz"))
    made = Helm(str(path / "helm"), plane, charts)
    for chart in ("platform", "bikeshare"):
        made("dependency", "build", str(charts / chart))
    return made


def install(helm: Helm) -> Iterator[Helm]:
    """Namespaces, Secrets, volumes, custom resources, both charts; removing them leaves nothing but data."""
    plane = helm.plane
    plane.apply(*(namespace(name, level) for name, level in ENFORCED.items()))
    plane.apply(*(secret(name, keys) for name, keys in SECRETS.items()))
    plane.apply({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline-runner", "namespace": PIPELINES},
    })
    plane.apply(storage_class(), *(volume(number) for number in range(2)))
    plane.apply(*(definition(plural) for plural in KINDS))
    plane.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=60s")
    helm.upgrade("platform", "--wait", "--timeout", "120s")
    helm.upgrade("bikeshare")
    yield helm
    helm("uninstall", "bikeshare", "platform", "--namespace", NAMESPACE)
    kinds = "deployments,statefulsets,cronjobs,services,configmaps,networkpolicies,roles,rolebindings,hpa,pdb"
    ours = ("-l", "app.kubernetes.io/part-of=bikeshare", "-o", "name")
    left = plane.kubectl("-n", NAMESPACE, "get", kinds, *ours).stdout
    assert left == "", f"after `helm uninstall` there is still {left}"
    assert "bikeshare" not in plane.kubectl("get", "validatingadmissionpolicies", "-o", "name").stdout


def namespace(name: str, level: str) -> dict[str, Any]:
    """A namespace with its Pod Security level."""
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """A Secret whose values nobody reads."""
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": dict.fromkeys(keys, "made-for-a-test"),
    }


def storage_class() -> dict[str, Any]:
    """The default class, like kind's: bound when a pod needs it."""
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume(number: int) -> dict[str, Any]:
    """A volume on the one node."""
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"local-{number}"},
        "spec": {
            "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
            "local": {"path": f"/var/local-{number}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
        },
    }


def definition(plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition; its schema is the published one when CRD_SCHEMAS names a folder, else anything."""
    group, version, kind = KINDS[plural]
    schema: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if schemas():
        schema = structural(json.loads((Path(schemas()) / f"{group}_{kind.lower()}_{version}.json").read_text()))
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{
                "name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            }],
        },
    }


def schemas() -> str:
    """Folder with the JSON schemas of custom resources, or nothing."""
    return os.environ.get("CRD_SCHEMAS", "")


def structural(node: Any) -> Any:
    """A published JSON schema as a CRD takes it: objects are closed there anyway, and must not say so."""
    if isinstance(node, list):
        return [structural(item) for item in node]
    if isinstance(node, dict):
        return {
            key: structural(value) for key, value in node.items()
            if (key, value) != ("additionalProperties", False) and key != "$schema"
        }
    return node


def documents(text: str) -> list[dict[str, Any]]:
    """Objects of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]
