"""The two Deployments a roll-out steers, as small as Pod Security allows; the chart's own are in test_charts.py."""

from typing import Any

from tests.cluster.stand_in_kubelet import TRACK


def predictor(name: str, namespace: str, track: str, replicas: int) -> dict[str, Any]:
    """One Deployment whose pods are told apart by their track."""
    labels = {"app.kubernetes.io/component": "predictor", TRACK: track}
    version = {"fieldRef": {"fieldPath": "metadata.annotations['bikeshare.dev/model-version']"}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "predictor", "image": "bikeshare/predictor:test",
                        "ports": [{"name": "http", "containerPort": 3000}],
                        "env": [{"name": "BIKESHARE_MODEL_VERSION", "valueFrom": version}],
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    }],
                },
            },
        },
    }
