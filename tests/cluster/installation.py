"""Both charts installed on the control plane as skaffold does it: `hack/bootstrap.sh`, then Helm; without images."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import ROOT, ControlPlane, run
from tests.cluster.stand_in_kubelet import NODE
from tests.custom_resources import KINDS, CustomResource, schema, schemas_are_there
from tests.manifests.overlay import on_stub

NAMESPACE = "bikeshare"
PIPELINES = "kubeflow"
PROMOTERS = (f"system:serviceaccount:{PIPELINES}:pipeline-runner", f"system:serviceaccount:{NAMESPACE}:promoter")


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
        return self("upgrade", "--install", *self._for_kind(chart), *arguments, check=check)

    def template(self, chart: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What `upgrade` with these arguments would apply."""
        return self("template", *self._for_kind(chart), *arguments)

    def _for_kind(self, chart: str) -> tuple[str, ...]:
        folder = self.charts / chart
        return chart, str(folder), "--namespace", NAMESPACE, "--values", str(folder / "values-kind.yaml")


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


@dataclass(frozen=True)
class Scripts:
    """What people and skaffold call, in a copy of the checkout's `hack` and `manifests` whose KFP is the stub."""

    folder: Path
    plane: ControlPlane

    def __call__(self, *command: str, check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a script with the kubectl of the control plane, as its administrator."""
        environment = self.plane.environment()
        environment["PATH"] = f"{self.plane.binaries}{os.pathsep}{environment['PATH']}"
        name, *arguments = command
        interpreter = sys.executable if name.endswith(".py") else "sh"
        return run([interpreter, str(self.folder / "hack" / name), *arguments], environment | variables, check=check)


def scripts_for(plane: ControlPlane, folder: Path) -> Scripts:
    """The scripts; KFP's own manifests lie in a repository far away, so the overlay is built on what tests wrote."""
    for name in ("hack", "manifests"):
        shutil.copytree(ROOT / name, folder / name)
    for part in ("crds", "stack"):
        on_stub(folder / "manifests" / "kfp" / part)
    return Scripts(folder, plane)


def install(helm: Helm, scripts: Scripts) -> Iterator[Helm]:
    """Namespaces, Secrets and KFP by bootstrap, volumes, custom resources, both charts; all removed but data."""
    plane = helm.plane
    scripts("bootstrap.sh")
    plane.apply(storage_class(), *(volume(number) for number in range(2)))
    plane.apply(*(definition(kind) for kind in KINDS.values()))
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


def definition(kind: CustomResource) -> dict[str, Any]:
    """A CustomResourceDefinition; its schema is the published one when CRD_SCHEMAS names a folder, else anything."""
    published: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if schemas_are_there():
        published = structural(schema(kind.kind))
    names = {
        "kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower(), "listKind": f"{kind.kind}List",
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group, "scope": "Namespaced", "names": names,
            "versions": [{
                "name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": published},
                "subresources": {"status": {}},
            }],
        },
    }


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
