"""Who can reach whom: evaluates NetworkPolicies the way a cluster does, for pods of the charts and of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.charts.manifests import Manifest, containers, pod_template, title


@dataclass(frozen=True)
class Peer:
    """A pod, as policies see it."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()


Edge = tuple[str, str, int]


def peers(manifests: Sequence[Manifest]) -> list[Peer]:
    """The pods that these objects make."""
    found = []
    for manifest in manifests:
        pod = pod_template(manifest)
        if pod is not None:
            ports = tuple(port["containerPort"] for each in containers(pod) for port in each.get("ports", []))
            found.append(Peer(
                manifest["metadata"]["name"], manifest["metadata"]["namespace"], pod["metadata"]["labels"], ports
            ))
    return found


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A label selector with matchLabels and `In` expressions; other operators are refused."""
    selector = selector or {}
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise ValueError(f"operator {expression['operator']} is not understood here: add it")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _admits(rule: Mapping[str, Any], side: str, other: Peer, own_namespace: str, port: int) -> bool:
    if port not in [each["port"] for each in rule["ports"]]:
        return False
    for peer in rule[side]:
        if "ipBlock" in peer:
            continue
        if "namespaceSelector" in peer:
            inside = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
        else:
            inside = other.namespace == own_namespace
        if inside and matches(peer.get("podSelector"), other.labels):
            return True
    return False


def _allowed(policies: Sequence[Manifest], direction: str, own: Peer, other: Peer, port: int) -> bool:
    applying = [
        each["spec"] for each in policies
        if each["metadata"]["namespace"] == own.namespace and direction in each["spec"]["policyTypes"]
        and matches(each["spec"]["podSelector"], own.labels)
    ]
    if not applying:
        return True
    key, side = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return any(
        _admits(rule, side, other, own.namespace, port) for spec in applying for rule in spec.get(key) or []
    )


def edges(manifests: Sequence[Manifest], others: Sequence[Peer]) -> set[Edge]:
    """Every (from, to, port) that both ends admit, on ports that the target really has."""
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    everybody = [*peers(manifests), *others]
    return {
        (source.name, target.name, port)
        for source in everybody for target in everybody if source != target for port in target.ports
        if _allowed(policies, "Egress", source, target, port) and _allowed(policies, "Ingress", target, source, port)
    }


def dead_rules(manifests: Sequence[Manifest], others: Sequence[Peer]) -> list[str]:
    """Policies that select no pod, ports that nobody has, and peers that are nobody."""
    everybody = [*peers(manifests), *others]
    found = []
    for policy in (each for each in manifests if each["kind"] == "NetworkPolicy"):
        spec, namespace = policy["spec"], policy["metadata"]["namespace"]
        own = [each for each in everybody if each.namespace == namespace and matches(spec["podSelector"], each.labels)]
        if not own:
            found.append(f"{title(policy)}: selects no pod")
        for rule in spec.get("ingress") or []:
            for port in rule["ports"]:
                if not any(port["port"] in each.ports for each in own):
                    found.append(f"{title(policy)}: no selected pod has port {port['port']}")
        for side, rules in (("from", spec.get("ingress") or []), ("to", spec.get("egress") or [])):
            for rule in rules:
                for peer in rule[side]:
                    if "ipBlock" in peer:
                        continue
                    ports = [port["port"] for port in rule["ports"]]
                    reached = [
                        each for each in everybody for port in ports
                        if _admits({**rule, side: [peer]}, side, each, namespace, port)
                        and (side == "from" or port in each.ports)
                    ]
                    if not reached:
                        found.append(f"{title(policy)}: {side} {peer} on {ports} is nobody")
    return found
