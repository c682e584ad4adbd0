"""What nobody may read in rendered objects, and what rights these give; as pure functions, like manifests.py."""

import re
from collections.abc import Mapping, Sequence

import yaml

from tests.charts.manifests import Manifest, containers, pod_template, secret_keys, title

KNOWN = re.compile(r"(?i)minio123|minioadmin|changeme|hunter2|postgres:postgres|admin:admin|prom-operator")
CREDENTIAL = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS|API_KEY|DATABASE_URL|STORE_URI")

Right = tuple[str, str, str, tuple[str, ...], str]


def revealed(manifests: Sequence[Manifest]) -> list[str]:
    """Rendered Secrets, passwords that everybody knows, and credentials that do not come from a Secret."""
    found = []
    for each in manifests:
        if each["kind"] == "Secret":
            found.append(f"{title(each)}: is rendered")
        found += [f"{title(each)}: holds the password {word}" for word in KNOWN.findall(yaml.safe_dump(dict(each)))]
        for container in containers(pod_template(each) or {"spec": {}}):
            found += [
                f"{title(each)}/{container['name']}: {variable['name']} is a plain value"
                for variable in container.get("env", [])
                if CREDENTIAL.search(variable["name"]) and "valueFrom" not in variable
            ]
    return found


def unmade(manifests: Sequence[Manifest], made: Mapping[str, set[str]], optional: set[str]) -> list[str]:
    """References to a Secret or a key that is not in `made` (name -> keys), and optional ones that nobody may set."""
    return [
        f"Secret {name}: nobody makes the key {key}"
        for name, key, may_be_absent in secret_keys(manifests)
        if key not in (optional if may_be_absent else made.get(name, set()))
    ]


def rights(manifests: Sequence[Manifest]) -> set[Right]:
    """(role, API group, resource, names, verb) of everything that roles give; those of ClusterRoles say so."""
    return {
        (title(role), group, resource, tuple(rule.get("resourceNames", ())), verb)
        for role in manifests if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"] for group in rule.get("apiGroups", [""])
        for resource in rule.get("resources", rule.get("nonResourceURLs", ())) for verb in rule["verbs"]
    }


def bound(manifests: Sequence[Manifest]) -> set[tuple[str, str, str]]:
    """(binding, role, ServiceAccount) of everybody who is given a role, also one that is not ours."""
    return {
        (each["kind"], f"{each['roleRef']['kind']}/{each['roleRef']['name']}",
         f"{subject['kind']} {subject.get('namespace', '')}/{subject['name']}")
        for each in manifests if each["kind"] in ("RoleBinding", "ClusterRoleBinding") for subject in each["subjects"]
    }
