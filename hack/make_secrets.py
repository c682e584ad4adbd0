"""Make the Secrets that charts and KFP refer to: missing keys are generated, existing ones are kept.

Charts never make passwords: a template that does gives a new one whenever it is rendered without the cluster at hand.
Nothing is printed but names. `SLACK_WEBHOOK_URL`, `SLACK_BOT_TOKEN` and `BIKESHARE_API_KEY` are taken over when they
are set in the environment; every other value of your own (an external database, a bucket elsewhere) is put into its
Secret before or after, and stays.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping

APP, PIPELINES, MONITORING = "bikeshare", "kubeflow", "monitoring"
FROM_ENVIRONMENT = ("SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "BIKESHARE_API_KEY")

Name = tuple[str, str]
Data = dict[str, str]


def wanted(existing: Mapping[Name, Mapping[str, str]], given: Mapping[str, str], generate: Callable[[], str]) -> (
    dict[Name, Data]
):
    """All Secrets as they shall be.

    Args:
        existing: (namespace, name) -> key -> value, as found on the cluster.
        given: Values of the caller's environment; only names in FROM_ENVIRONMENT count, and they win.
        generate: Makes a password that needs no quoting in a URL.
    """
    made: dict[Name, Data] = {}

    def keep(namespace: str, name: str, **values: Callable[[], str]) -> Data:
        data = dict(existing.get((namespace, name), {}))
        for key, make in values.items():
            key = key.replace("_", "-") if key.islower() else key
            if not data.get(key):
                data[key] = make()
        made[namespace, name] = data
        return data

    database = keep(
        APP, "postgresql", postgres_password=generate, bikeshare_password=generate, mlflow_password=generate
    )
    store = keep(
        APP, "minio", root_user=lambda: "root", root_password=generate,
        bikeshare_access_key=lambda: "bikeshare", bikeshare_secret_key=generate,
        mlflow_access_key=lambda: "mlflow", mlflow_secret_key=generate,
        pipelines_access_key=lambda: "pipelines", pipelines_secret_key=generate,
    )
    keep(
        APP, "mlflow",
        database_uri=lambda: f"postgresql+psycopg2://mlflow:{database['mlflow-password']}@postgresql.{APP}:5432/mlflow",
        access_key=lambda: store["mlflow-access-key"], secret_key=lambda: store["mlflow-secret-key"],
    )
    ours = keep(
        APP, "bikeshare",
        BIKESHARE_DATABASE_URL=lambda: (
            f"postgresql+psycopg://bikeshare:{database['bikeshare-password']}@postgresql.{APP}:5432/bikeshare"
        ),
        AWS_ACCESS_KEY_ID=lambda: store["bikeshare-access-key"],
        AWS_SECRET_ACCESS_KEY=lambda: store["bikeshare-secret-key"],
    )
    ours.update({key: given[key] for key in FROM_ENVIRONMENT if given.get(key)})
    made[PIPELINES, "bikeshare"] = dict(ours)  # task pods read theirs; a copy, so it follows the original
    keep(
        PIPELINES, "mlpipeline-minio-artifact",
        accesskey=lambda: store["pipelines-access-key"], secretkey=lambda: store["pipelines-secret-key"],
    )
    keep(MONITORING, "grafana-admin", admin_user=lambda: "admin", admin_password=generate)
    return made


def manifest(made: Mapping[Name, Data]) -> str:
    """The Secrets as one document for `kubectl apply -f -`."""
    items = [
        {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"namespace": namespace, "name": name, "labels": {"app.kubernetes.io/part-of": "bikeshare"}},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())},
        }
        for (namespace, name), data in made.items()
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _kubectl(*arguments: str, text: str | None = None) -> str:
    context = os.environ.get("SKAFFOLD_KUBE_CONTEXT")
    command = ["kubectl", *(["--context", context] if context else []), *arguments]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"make_secrets: `{' '.join(command)}` failed with exit code {done.returncode}")
    return done.stdout


def _found(namespace: str, names: list[str]) -> dict[Name, Data]:
    answer = _kubectl("-n", namespace, "get", "secret", *names, "--ignore-not-found", "-o", "json")
    document = json.loads(answer) if answer.strip() else {"items": []}
    items = document.get("items", [document])  # a single one comes without a list
    decoded = {
        item["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in (item.get("data") or {}).items()
        }
        for item in items
    }
    return {(namespace, name): decoded.get(name, {}) for name in names}


def main() -> None:
    """Complete the Secrets of the cluster that kubectl talks to; what is there already is sent back unchanged."""
    names = list(wanted({}, {}, str))
    existing: dict[Name, Data] = {}
    for namespace in (APP, PIPELINES, MONITORING):
        existing |= _found(namespace, [name for where, name in names if where == namespace])
    made = wanted(existing, os.environ, lambda: secrets.token_hex(24))
    for (namespace, name), data in made.items():
        new = sorted(key for key, value in data.items() if existing[namespace, name].get(key) != value)
        sys.stdout.write(f"secret {namespace}/{name}: {'wrote ' + ', '.join(new) if new else 'unchanged'}\n")
    _kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=bikeshare-bootstrap", "-f", "-",
        text=manifest(made),
    )


if __name__ == "__main__":
    main()
