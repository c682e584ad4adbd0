"""The one decorator of all components, and what a task needs on a cluster.

Lightweight components: the body is shipped inside the compiled pipeline and imports the installed `bikeshare`, so the
same function runs in a pod and under `kfp.local`. Nothing is installed at run time.
"""

import functools
import os

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask

IMAGE = os.environ.get("BIKESHARE_IMAGE", "bikeshare/pipeline:dev")
"""Image of every task, fixed when the pipeline is compiled; never a tag that moves."""

component = functools.partial(dsl.component, base_image=IMAGE, packages_to_install=[], install_kfp_package=False)

CONFIG_MAP = "bikeshare"
CONFIG = (
    "BIKESHARE_STORE_URL", "BIKESHARE_S3_ENDPOINT_URL", "BIKESHARE_PIPELINES_URL", "BIKESHARE_PIPELINES_NAMESPACE",
    "BIKESHARE_ROLLOUT", "BIKESHARE_NAMESPACE", "BIKESHARE_PREDICTOR_URL", "BIKESHARE_DASHBOARD_URL",
    "BIKESHARE_ENVIRONMENT_NAME", "BIKESHARE_MODEL_NAME", "BIKESHARE_VALIDATION", "BIKESHARE_GATE",
    "BIKESHARE_ROLLOUT_CHECKS", "BIKESHARE_DRIFT", "BIKESHARE_RETRAINING", "MLFLOW_TRACKING_URI", "SLACK_CHANNEL",
    "SLACK_API_URL", "PUSHGATEWAY_URL", "TZ",
)
"""Keys of the ConfigMap, named like the variables they become."""

SECRET = "bikeshare"
SECRETS = (
    "BIKESHARE_DATABASE_URL", "BIKESHARE_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SLACK_WEBHOOK_URL",
    "SLACK_BOT_TOKEN",
)
"""Keys of the Secret, named like the variables they become."""

LABELS = {"app.kubernetes.io/part-of": "bikeshare", "app.kubernetes.io/component": "training"}
"""What NetworkPolicies can tell our task pods by."""

REVISION = os.environ.get("GIT_REVISION", "")
"""Commit of the image's sources, fixed when the pipeline is compiled; empty: as baked into the image."""

USER = 10001
"""User and group of our images."""

HOME = "/var/lib/bikeshare"
"""BIKESHARE_HOME of our images."""


def on_cluster(task: PipelineTask, *, cpu: str, memory: str) -> PipelineTask:
    """Environment, resources and rights in a pod; `kfp.local` ignores them and inherits the caller's environment."""
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {name: name for name in CONFIG}, optional=True)
    kubernetes.use_secret_as_env(task, SECRET, {name: name for name in SECRETS}, optional=True)
    if REVISION:
        task.set_env_variable("GIT_REVISION", REVISION)
    for label, value in LABELS.items():
        kubernetes.add_pod_label(task, label, value)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")  # images that kind has loaded are in no registry
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, volume_name="home", mount_path=HOME, size_limit="2Gi")
    task.set_cpu_request(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    return task
