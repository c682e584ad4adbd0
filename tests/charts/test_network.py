"""NetworkPolicies: exactly these connections, each with a reason, and no others."""

from pathlib import Path

import pytest

from tests.charts.helm import MATRIX, Case, objects
from tests.charts.manifests import Manifest
from tests.charts.network import Peer, dead_rules, edges, peers

NAME = "app.kubernetes.io/name"
OTHERS = (
    Peer("dns", "kube-system", {"k8s-app": "kube-dns"}, (53,)),
    Peer("pipeline-step", "kubeflow"),
    Peer("ml-pipeline", "kubeflow", {"app": "ml-pipeline"}, (8888,)),
    Peer("prometheus", "monitoring", {NAME: "prometheus"}, (9090,)),
    Peer("pushgateway", "monitoring", {NAME: "prometheus-pushgateway"}, (9091,)),
    Peer("stranger", "elsewhere"),
    Peer("intruder", "bikeshare"),
)

CONNECTIONS = {
    ("predictor", "minio", 9000): "fetches the packaged model",
    ("predictor", "postgresql", 5432): "reads history and level, writes the prediction log",
    ("predictor-canary", "minio", 9000): "as the stable predictor",
    ("predictor-canary", "postgresql", 5432): "as the stable predictor",
    ("monitor", "minio", 9000): "reads the reference, writes reports",
    ("monitor", "postgresql", 5432): "reads predictions and truth, writes decisions",
    ("monitor", "mlflow", 5000): "asks which version is champion",
    ("monitor", "ml-pipeline", 8888): "requests a run",
    ("monitor", "pushgateway", 9091): "its metrics outlive its pod",
    ("retention", "postgresql", 5432): "deletes old predictions",
    ("dashboard", "minio", 9000): "shows reports",
    ("dashboard", "postgresql", 5432): "shows decisions and predictions",
    ("dashboard", "mlflow", 5000): "shows versions",
    ("dashboard", "predictor", 3000): "asks for forecasts",
    ("dashboard", "predictor-canary", 3000): "behind the same Service",
    ("test-prediction", "predictor", 3000): "helm test",
    ("test-prediction", "predictor-canary", 3000): "behind the same Service",
    ("prometheus", "predictor", 3000): "scrapes",
    ("prometheus", "predictor-canary", 3000): "scrapes",
    ("mlflow", "postgresql", 5432): "its database",
    ("mlflow", "minio", 9000): "its artifacts",
    ("minio-setup", "minio", 9000): "makes buckets and users",
    **{
        (source, target, port): reason
        for source in ("pipeline-step", "ml-pipeline")
        for target, port, reason in (
            ("minio", 9000, "artifacts of a run"), ("postgresql", 5432, "the records"), ("mlflow", 5000, "tracking"),
            ("predictor", 3000, "is the roll-out served?"), ("predictor-canary", 3000, "checks of the canary"),
        )
    },
    **{
        (source, "dns", 53): "names"
        for source in (
            "predictor", "predictor-canary", "monitor", "retention", "dashboard", "test-prediction", "mlflow",
            "minio-setup",
        )
    },
}


@pytest.fixture
def everything(charts: Path) -> list[Manifest]:
    """Both charts as on kind."""
    return [each for case in MATRIX if case.name == "kind" for each in objects(charts, case)]


def test_these_connections_and_no_others(everything: list[Manifest]) -> None:
    foreign = {other.name for other in OTHERS}
    found = {edge for edge in edges(everything, OTHERS) if not {edge[0], edge[1]} <= foreign}

    assert found == set(CONNECTIONS)


def test_no_rule_is_without_effect(everything: list[Manifest]) -> None:
    assert dead_rules(everything, OTHERS) == []


def test_every_pod_has_a_policy_of_its_own_and_the_namespace_denies_the_rest(everything: list[Manifest]) -> None:
    policies = [each for each in everything if each["kind"] == "NetworkPolicy"]
    assert all(set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"} for each in policies)
    assert [each["metadata"]["name"] for each in policies if not each["spec"]["podSelector"]] == ["default-deny"]

    alone = [policy for policy in policies if policy["spec"]["podSelector"]]
    for peer in peers(everything):
        assert not any(
            edge[1] == peer.name for edge in edges([*alone, *(e for e in everything if e not in policies)], OTHERS)
            if edge[0] == "stranger"
        )


@pytest.mark.parametrize("chart", ["platform", "bikeshare"])
def test_switched_off_nothing_is_left_of_them(charts: Path, chart: str) -> None:
    case = Case(chart, "open", sets=("networkPolicy.enabled=false",))

    assert [each for each in objects(charts, case) if each["kind"] == "NetworkPolicy"] == []


def test_external_services_are_reached_by_address(charts: Path) -> None:
    rendered = objects(charts, next(case for case in MATRIX if str(case) == "bikeshare-external"))
    blocks = {
        each["metadata"]["name"]: sorted(
            (peer["ipBlock"]["cidr"], rule["ports"][0]["port"])
            for rule in each["spec"].get("egress") or [] for peer in rule["to"] if "ipBlock" in peer
        )
        for each in rendered if each["kind"] == "NetworkPolicy"
    }

    assert blocks["predictor"] == [("192.0.2.0/24", 443), ("198.51.100.10/32", 5432)]
    assert blocks["retention"] == [("198.51.100.10/32", 5432)]
    assert blocks["monitor"] == [
        ("0.0.0.0/0", 443), ("192.0.2.0/24", 443), ("198.51.100.10/32", 5432), ("198.51.100.20/32", 443),
        ("198.51.100.30/32", 443),
    ]


def test_an_intruder_is_seen_when_a_policy_is_lost(everything: list[Manifest]) -> None:
    """The evaluation itself: without the policies of the store, everybody reaches it."""
    lost = [
        each for each in everything
        if each["kind"] != "NetworkPolicy" or each["metadata"]["name"] not in ("minio", "default-deny")
    ]

    assert ("intruder", "minio", 9000) in edges(lost, OTHERS)
    assert ("intruder", "minio", 9000) not in edges(everything, OTHERS)


def test_a_rule_for_a_port_that_nobody_has_is_found(everything: list[Manifest]) -> None:
    policy = {
        "kind": "NetworkPolicy", "metadata": {"name": "typo", "namespace": "bikeshare"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "minio"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 9100}]}],
        },
    }

    assert dead_rules([*everything, policy], OTHERS) == ["NetworkPolicy/typo: no selected pod has port 9100"]


@pytest.mark.parametrize(("selector", "source", "expected"), [
    ({"matchLabels": {NAME: "nobody"}}, {"podSelector": {}}, "NetworkPolicy/typo: selects no pod"),
    ({}, {"podSelector": {"matchLabels": {NAME: "nobody"}}}, "is nobody"),
    ({}, {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}}}, "is nobody"),
])
def test_a_rule_for_nobody_is_found(
    everything: list[Manifest], selector: Manifest, source: Manifest, expected: str
) -> None:
    policy = {
        "kind": "NetworkPolicy", "metadata": {"name": "typo", "namespace": "bikeshare"},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"],
                 "ingress": [{"from": [source], "ports": [{"port": 9000}]}]},
    }

    assert any(expected in problem for problem in dead_rules([*everything, policy], OTHERS))
