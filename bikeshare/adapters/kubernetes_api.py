"""The four calls of a roll-out to the Kubernetes API, and its errors in our words."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import urllib3
from kubernetes import client, config

from bikeshare.adapters.kubernetes_state import ANNOTATION, FIELD_MANAGER
from bikeshare.errors import BikeshareError, ConfigurationError, Conflict, Unavailable

_TIMEOUT = (5.0, 30.0)


class Moved(Conflict):
    """Somebody wrote between our read and our write."""


def connect() -> client.ApiClient:
    """The pod's own ServiceAccount, else the current context of the kubeconfig; raises ConfigurationError."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            config.load_kube_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise ConfigurationError(
                f"BIKESHARE_ROLLOUT=kubernetes, but there is neither a ServiceAccount token nor a usable kubeconfig "
                f"({error}): run in a pod with a token, set KUBECONFIG, or use BIKESHARE_ROLLOUT=local"
            ) from error
    return client.ApiClient(configuration)


class Deployments:
    """Deployments of one namespace: read them and their pods, pin a version, scale.

    Every call raises Unavailable when the API server does not answer, ConfigurationError when the object is missing
    or the caller may not do this, Moved when a write names a revision that is no longer the newest.
    """

    def __init__(self, namespace: str, connect: Callable[[], client.ApiClient] = connect) -> None:
        """Remember where; the API server is first asked when something is to be done."""
        self._namespace, self._connect = namespace, connect
        self._client: client.ApiClient | None = None

    def read(self, name: str) -> Any:
        """The Deployment as a V1Deployment."""
        return self._call(
            f"read Deployment {name}",
            lambda api: client.AppsV1Api(api).read_namespaced_deployment(
                name, self._namespace, _request_timeout=_TIMEOUT
            ),
        )

    def pods(self, deployment: Any) -> Sequence[Any]:
        """The V1Pods its selector matches, without those being deleted."""
        labels = ",".join(f"{name}={value}" for name, value in deployment.spec.selector.match_labels.items())
        found = self._call(
            f"list the pods of {deployment.metadata.name}",
            lambda api: client.CoreV1Api(api).list_namespaced_pod(
                self._namespace, label_selector=labels, _request_timeout=_TIMEOUT
            ),
        )
        return [pod for pod in found.items if pod.metadata.deletion_timestamp is None]

    def pin(self, name: str, version: str | None, revision: str | None = None) -> Any:
        """Write the one annotation (None removes it) and return the Deployment; `revision`: only if still newest."""
        body = {
            "metadata": {} if revision is None else {"resourceVersion": revision},
            "spec": {"template": {"metadata": {"annotations": {ANNOTATION: version}}}},
        }
        return self._call(
            f"pin Deployment {name} to version {version}",
            lambda api: client.AppsV1Api(api).patch_namespaced_deployment(
                name, self._namespace, body, field_manager=FIELD_MANAGER, _request_timeout=_TIMEOUT
            ),
        )

    def scale(self, name: str, replicas: int, revision: str) -> None:
        """Set the number of pods through the scale subresource, if `revision` is still the newest."""
        body = {"metadata": {"resourceVersion": revision}, "spec": {"replicas": replicas}}
        self._call(
            f"scale Deployment {name} to {replicas}",
            lambda api: client.AppsV1Api(api).patch_namespaced_deployment_scale(
                name, self._namespace, body, field_manager=FIELD_MANAGER, _request_timeout=_TIMEOUT
            ),
        )

    def _call(self, action: str, ask: Callable[[client.ApiClient], Any]) -> Any:
        if self._client is None:
            self._client = self._connect()
        try:
            return ask(self._client)
        except client.ApiException as error:
            raise self._translated(action, error) from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"the API server did not answer, to {action}: {error}") from error

    def _translated(self, action: str, error: client.ApiException) -> BikeshareError:
        where = f"cannot {action} in namespace {self._namespace} ({error.status} {error.reason}: {_message(error)})"
        if error.status == 409:
            return Moved(f"{where}: somebody else wrote first")
        if error.status == 404:
            return ConfigurationError(f"{where}: install the chart `bikeshare` there, or correct BIKESHARE_NAMESPACE")
        if error.status in (401, 403, 422):
            return ConfigurationError(f"{where}: it takes a caller whom the Role and the policy `promoter` allow this")
        return Unavailable(where)


def _message(error: client.ApiException) -> str:
    """What the API server said, without its envelope."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or "")[:300]
