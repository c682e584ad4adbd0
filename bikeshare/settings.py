"""Every setting, read once by a door (CLI command, service constructor, component body).

Nothing below a door reads the environment. Names are `BIKESHARE_<FIELD>`; a few follow their vendor's own
convention (MLFLOW_TRACKING_URI, SLACK_*, PUSHGATEWAY_URL). A misspelt `BIKESHARE_*` variable is an error.
"""

import json
import math
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bikeshare.core.drift import DriftPolicy
from bikeshare.core.promotion import GatePolicy
from bikeshare.core.retraining import RetrainingPolicy
from bikeshare.core.rollout import RolloutPolicy
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.errors import ConfigurationError

PREFIX = "BIKESHARE_"

POLICIES = ("validation", "gate", "rollout_checks", "drift", "retraining")
"""Settings that hold a policy: one JSON document, or one variable for each field after `__`."""

AT_LEAST_ONE = frozenset({
    "confirm", "of_last", "window_days", "step_days", "baseline_days", "holdout_days", "min_rows", "bias_rows",
    "full_slice_rows", "bootstrap_rounds", "golden_hours", "golden_attempts", "probe_requests",
})
"""Fields of policies that mean nothing at 0; the others turn a rule off or make it strict."""


class Settings(BaseSettings):
    """Where things are and what may differ between the embedded and the cluster profile."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, populate_by_name=True
    )

    home: Path = Field(
        default=Path("var"), description="Folder of the embedded profile: store, database, models, logs."
    )
    store_url: str = Field(
        default="", description="Object store: `file:PATH` or `s3://BUCKET/PREFIX`. Empty: HOME/store."
    )
    s3_endpoint_url: str = Field(default="", description="S3 endpoint when it is not AWS, e.g. `http://minio:9000`.")
    database_url: SecretStr = Field(
        default=SecretStr(""), description="SQLAlchemy URL of the records. Empty: SQLite in HOME."
    )
    tracking_uri: str = Field(
        default="",
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "tracking_uri"),
        description="MLflow tracking and registry. Empty: SQLite in HOME.",
    )
    model_name: str = Field(default="bikeshare", description="Registered model name in MLflow.")
    pipelines_url: str = Field(
        default="local:", description="`local:` (kfp.local) or the KFP API, e.g. `http://ml-pipeline.kubeflow:8888`."
    )
    pipelines_namespace: str = Field(default="bikeshare", description="Namespace passed to the KFP client.")
    pipeline_package: Path = Field(
        default=Path("pipelines/compiled/training.yaml"), description="Compiled pipeline that a request starts."
    )
    rollout: Literal["local", "kubernetes"] = Field(default="local", description="How a new version reaches traffic.")
    namespace: str = Field(default="bikeshare", description="Kubernetes namespace of the predictor Deployments.")
    clock: str = Field(default="system", description="`system`, or `file:PATH` holding an ISO time (demo, replay).")
    predictor_url: str = Field(default="http://127.0.0.1:3000", description="Where clients reach the live API.")
    predictor_port: int = Field(
        default=3000, ge=1, le=65535, description="Port the predictor (or its front) listens on."
    )
    supervisor_port: int = Field(
        default=3010, ge=1, le=65535, description="Loopback port that steers the local roll-out."
    )
    dashboard_port: int = Field(default=8501, ge=1, le=65535, description="Port the dashboard listens on.")
    dashboard_url: str = Field(default="http://127.0.0.1:8501", description="Linked from alerts.")
    model_version: str = Field(
        default="",
        description="Version a predictor is pinned to. Empty: the champion; with the Kubernetes roll-out it waits.",
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="When set, the API requires it as `X-API-Key`.")
    refresh_seconds: float = Field(
        default=60.0, gt=0, description="How often the predictor refreshes history and level."
    )
    spool_max_bytes: int = Field(
        default=256 * 1024 * 1024, gt=0, description="Disk the prediction log may use while the database is away."
    )
    retention_days: int = Field(default=400, gt=0, description="Predictions older than this are deleted.")
    slack_webhook_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("SLACK_WEBHOOK_URL", "slack_webhook_url"),
        description="Slack incoming webhook. Empty and no bot token: alerts go to the console.",
    )
    slack_bot_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("SLACK_BOT_TOKEN", "slack_bot_token"),
        description="Slack bot token; allows threads. Needs SLACK_CHANNEL.",
    )
    slack_channel: str = Field(
        default="",
        validation_alias=AliasChoices("SLACK_CHANNEL", "slack_channel"),
        description="Slack channel id.",
    )
    slack_api_url: str = Field(
        default="https://slack.com/api/",
        validation_alias=AliasChoices("SLACK_API_URL", "slack_api_url"),
        description="Slack Web API base; another one in tests and in the demo's mock inbox.",
    )
    pushgateway_url: str = Field(
        default="",
        validation_alias=AliasChoices("PUSHGATEWAY_URL", "pushgateway_url"),
        description="Where batch jobs push metrics. Empty: a textfile in HOME/metrics.",
    )
    validation: ValidationPolicy = Field(default=ValidationPolicy(), description="When a batch is refused.")
    gate: GatePolicy = Field(default=GatePolicy(), description="When a challenger may replace the Champion.")
    rollout_checks: RolloutPolicy = Field(default=RolloutPolicy(), description="What a canary must show.")
    drift: DriftPolicy = Field(default=DriftPolicy(), description="When served errors count as decay or a step.")
    retraining: RetrainingPolicy = Field(default=RetrainingPolicy(), description="When the monitor retrains.")
    image: str = Field(
        default="bikeshare/pipeline:dev", description="Container image of the pipeline tasks, fixed at compile time."
    )
    environment_name: str = Field(default="embedded", description="Shown in alerts and reports.")

    @field_validator(*POLICIES, mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        """Lists and mappings inside a policy arrive as JSON when they are set one by one."""
        if not isinstance(value, dict):
            return value
        read = dict(value)
        for name, part in value.items():
            if isinstance(part, str) and part[:1] in ("[", "{"):
                try:
                    read[name] = json.loads(part)
                except ValueError as error:
                    raise ValueError(f"{name} is {part!r}, which is not JSON: {error}") from error
        return read

    @field_validator(*POLICIES, mode="after")
    @classmethod
    def _sensible(cls, policy: Any) -> Any:
        """A policy that cannot be meant would not fail, it would decide."""
        for name, value in asdict(policy).items():
            for number in value.values() if isinstance(value, dict) else (value,):
                if not isinstance(number, int | float):
                    continue
                least = 1 if name in AT_LEAST_ONE else 0
                most = 1 if name.endswith("_share") or name == "confidence" else math.inf
                if not (math.isfinite(number) and least <= number <= most):
                    span = f"from {least} to 1" if most == 1 else f"of {least} or more"
                    raise ValueError(f"{type(policy).__name__}: {name} is {number}, a number {span} is needed")
        return policy

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.slack_bot_token.get_secret_value() and not self.slack_channel:
            raise ValueError("SLACK_BOT_TOKEN is set but SLACK_CHANNEL is empty: name the channel id")
        self._usable_home()
        if self.retraining.confirm > self.retraining.of_last:
            raise ValueError(
                f"BIKESHARE_RETRAINING: {self.retraining.confirm} checks cannot be over a limit among the last "
                f"{self.retraining.of_last}: let confirm be at most of_last"
            )
        return self

    def _usable_home(self) -> None:
        home = str(self.home)
        if strange := sorted({sign for sign in home if sign in "?#%"}):
            raise ValueError(
                f"BIKESHARE_HOME is {home!r}: {' and '.join(strange)} would end or change the address of the database "
                "in it; choose another folder"
            )
        if self.home.exists() and not self.home.is_dir():
            raise ValueError(f"BIKESHARE_HOME is {home!r}, which is a file: name a folder")

    @property
    def store(self) -> str:
        """Object-store URL with the embedded default filled in."""
        return self.store_url or f"file:{self.home.absolute() / 'store'}"

    @property
    def database(self) -> str:
        """Records URL with the embedded default filled in."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.home.absolute() / 'records.db'}"

    @property
    def tracking(self) -> str:
        """MLflow URI with the embedded default filled in."""
        return self.tracking_uri or f"sqlite:///{self.home.absolute() / 'mlflow.db'}"

    @classmethod
    def isolated(cls, **values: Any) -> "Settings":
        """These values and defaults, whatever the environment says: for plays, which must not reach real systems."""
        return _Isolated(**values)

    def to_environment(self) -> dict[str, str]:
        """Variables that give a child process exactly these settings, defaults included: it may inherit others."""
        variables: dict[str, str] = {}
        for name, field in Settings.model_fields.items():
            value = getattr(self, name)
            alias = field.validation_alias
            key = str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + name.upper()
            if is_dataclass(value) and not isinstance(value, type):
                variables[key] = json.dumps(asdict(value), default=dict)
            elif isinstance(value, SecretStr):
                variables[key] = value.get_secret_value()
            else:
                variables[key] = str(value.absolute()) if name == "home" else str(value)
        return variables


class _Isolated(Settings):
    """Settings that read nothing."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load_settings() -> Settings:
    """Read the environment; raises ConfigurationError naming every wrong or unknown variable."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(key for key in os.environ if key.startswith(PREFIX) and key.split("__")[0] not in known)
    if unknown:
        raise ConfigurationError(
            f"unknown setting {', '.join(unknown)}: check the spelling; docs/configuration.md lists all of them"
        )
    try:
        return Settings()
    except SettingsError as error:
        raise ConfigurationError(
            f"settings are wrong: {error}: {error.__cause__}; a policy is one JSON object"
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']} (got {item['input']!r})"
            if item["type"] != "value_error"
            else item["msg"]
            for item in error.errors()
        )
        raise ConfigurationError(f"settings are wrong: {problems}") from error
