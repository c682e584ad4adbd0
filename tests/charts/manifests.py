"""What a manifest must satisfy, as pure functions: objects in, sentences about what is wrong out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Manifest = Mapping[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
NAMES = ("name", "instance", "version", "part-of", "managed-by")


def title(manifest: Manifest) -> str:
    """How an object is named in a finding."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_template(manifest: Manifest) -> Manifest | None:
    """The pod (metadata and spec) that an object makes or is; None for an object without pods."""
    kind = manifest["kind"]
    if kind == "Pod":
        return manifest
    if kind == "CronJob":
        manifest = manifest["spec"]["jobTemplate"]
    elif kind not in WORKLOADS:
        return None
    template: Manifest = manifest["spec"]["template"]
    return template


def containers(pod: Manifest) -> list[Manifest]:
    """Init containers and containers."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"].get("containers", [])]


def restricted(manifest: Manifest) -> list[str]:
    """Violations of Pod Security "restricted", and of this project's read-only root and non-root user on top."""
    pod = pod_template(manifest)
    if pod is None:
        return []
    spec, where = pod["spec"], title(manifest)
    found = [f"{where}: {key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes", []):
        found += [f"{where}: volume {volume['name']} is a {kind}" for kind in set(volume) - {"name"} - VOLUMES]
    outer = spec.get("securityContext", {})
    if outer.get("sysctls"):
        found.append(f"{where}: sysctls are set")
    for container in containers(pod):
        inner = container.get("securityContext", {})
        both = {**outer, **inner}
        name = f"{where}/{container['name']}"
        rules = {
            "allowPrivilegeEscalation is not false": inner.get("allowPrivilegeEscalation") is not False,
            "is privileged": bool(inner.get("privileged")),
            "runAsNonRoot is not true": both.get("runAsNonRoot") is not True,
            "runs as root": both.get("runAsUser") == 0,
            "names no user": both.get("runAsUser") is None,
            "seccompProfile is not RuntimeDefault":
                both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "does not drop ALL capabilities": inner.get("capabilities", {}).get("drop") != ["ALL"],
            "adds capabilities": bool(set(inner.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}),
            "root filesystem is writable": inner.get("readOnlyRootFilesystem") is not True,
            "chooses its SELinux label": bool(both.get("seLinuxOptions")),
            "/proc is unmasked": inner.get("procMount", "Default") != "Default",
            "has a host port": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{name}: {rule}" for rule, broken in rules.items() if broken]
    return found


def token(manifest: Manifest) -> list[str]:
    """Pods that get an API token, or the variables of every Service, without asking for it."""
    pod = pod_template(manifest)
    if pod is None:
        return []
    keys = ("automountServiceAccountToken", "enableServiceLinks")
    found = [f"{title(manifest)}: {key} is not false" for key in keys if pod["spec"].get(key) is not False]
    if not pod["spec"].get("serviceAccountName"):
        found.append(f"{title(manifest)}: runs as the namespace's default ServiceAccount")
    return found


def resources(manifest: Manifest) -> list[str]:
    """Containers without a CPU and memory request and a memory limit."""
    found = []
    for container in containers(pod_template(manifest) or {"spec": {}}):
        given = container.get("resources", {})
        for group, key in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if key not in given.get(group, {}):
                found.append(f"{title(manifest)}/{container['name']}: no {group}.{key}")
    return found


def images(manifest: Manifest) -> list[str]:
    """Images without tag or digest, or with the tag `latest`."""
    found = []
    for container in containers(pod_template(manifest) or {"spec": {}}):
        reference = container["image"]
        tag = reference.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in reference and tag in ("", "latest"):
            found.append(f"{title(manifest)}/{container['name']}: image {reference} can change")
    return found


def writable(manifest: Manifest) -> list[str]:
    """Containers whose root is read-only and that have no /tmp to write to."""
    pod = pod_template(manifest) or {"spec": {}}
    return [
        f"{title(manifest)}/{container['name']}: nothing is mounted at /tmp" for container in containers(pod)
        if "/tmp" not in [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    ]


def probes(manifest: Manifest) -> list[str]:
    """Long-running containers without all three probes, and liveness probes that ask what readiness asks."""
    if manifest["kind"] not in ("Deployment", "StatefulSet"):
        return []
    found = []
    for container in manifest["spec"]["template"]["spec"]["containers"]:
        name = f"{title(manifest)}/{container['name']}"
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        found += [f"{name}: no {probe}" for probe in kinds if probe not in container]
        live = container.get("livenessProbe", {}).get("httpGet", {}).get("path", "")
        if "ready" in live:
            found.append(f"{name}: a liveness probe that asks {live} restarts what only waits")
    return found


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether plain match labels select these labels."""
    return all(labels.get(key) == value for key, value in selector.items())


def selectors(manifests: Sequence[Manifest]) -> list[str]:
    """Workloads that do not select their own pods; Services, budgets and monitors that select nothing."""
    pods = [(each, pod) for each in manifests if (pod := pod_template(each)) is not None]
    labels = [pod["metadata"].get("labels", {}) for _, pod in pods]
    found = []
    for manifest, pod in pods:
        wanted = manifest["spec"].get("selector", {}).get("matchLabels", {})
        if manifest["kind"] in ("Deployment", "StatefulSet") and not wanted:
            found.append(f"{title(manifest)}: empty selector")
        if not selects(wanted, pod["metadata"].get("labels", {})):
            found.append(f"{title(manifest)}: does not select its own pods")
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            wanted, candidates = spec.get("selector", {}), labels
        elif manifest["kind"] == "PodDisruptionBudget":
            wanted, candidates = spec["selector"]["matchLabels"], labels
        elif manifest["kind"] == "ServiceMonitor":
            wanted = spec["selector"]["matchLabels"]
            candidates = [each["metadata"]["labels"] for each in manifests if each["kind"] == "Service"]
        else:
            continue
        if not wanted or not any(selects(wanted, each) for each in candidates):
            found.append(f"{title(manifest)}: selects nothing")
    return found


def service_ports(manifests: Sequence[Manifest]) -> list[str]:
    """Service ports whose target no selected container has."""
    found = []
    for service in (each for each in manifests if each["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            open_ports = {
                key for pod in map(pod_template, manifests) if pod is not None
                and selects(service["spec"]["selector"], pod["metadata"].get("labels", {}))
                for container in containers(pod) for each in container.get("ports", [])
                for key in (each.get("name"), each["containerPort"])
            }
            if port["targetPort"] not in open_ports:
                found.append(f"{title(service)}: no container has port {port['targetPort']}")
    return found


def secret_keys(manifests: Sequence[Manifest]) -> Iterator[tuple[str, str, bool]]:
    """Every (secret, key, optional) that a container refers to; whole Secrets have the key ``*``."""
    for pod in map(pod_template, manifests):
        for container in containers(pod or {"spec": {}}):
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    yield reference["name"], reference["key"], reference.get("optional", False)
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    yield source["secretRef"]["name"], "*", source["secretRef"].get("optional", False)
        for volume in (pod or {"spec": {}})["spec"].get("volumes", []):
            if "secret" in volume:
                yield volume["secret"]["secretName"], "*", volume["secret"].get("optional", False)


def labels(manifest: Manifest) -> list[str]:
    """Objects that lack one of the recommended labels."""
    given = manifest["metadata"].get("labels", {})
    wanted = [f"app.kubernetes.io/{name}" for name in NAMES] + ["helm.sh/chart"]
    return [f"{title(manifest)}: no label {name}" for name in wanted if name not in given]
