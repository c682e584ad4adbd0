"""End-to-end test of the live API after a promotion; on failure the previous version serves again."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta

from bikeshare.core.forecasting import Forecaster
from bikeshare.core.rollout import DEFAULT_ROLLOUT, Judgement, RolloutPolicy, golden_rows
from bikeshare.errors import BikeshareError, RolloutRefused, Unavailable
from bikeshare.ports import CheckResult, Ports, RolloutResult
from bikeshare.steps.rollout import JSON, Connect, LiveApi, ask, compare_golden, reach, roll_back
from bikeshare.steps.snapshot import recent_observations

POLL_SECONDS = 0.1


def verify_live(
    ports: Ports, version: str, forecaster: Forecaster, now: datetime, *, url: str, connect: Connect,
    policy: RolloutPolicy = DEFAULT_ROLLOUT, sleep: Callable[[float], None] = time.sleep,
) -> RolloutResult:
    """Ask the live API what a client would, and return to the previous version when an answer is wrong.

    Args:
        ports: Collaborators.
        version: The version that must be live.
        forecaster: The version's own forecaster.
        now: The clock's time.
        url: Where clients reach the API.
        connect: Makes a client of the URL.
        policy: Limits.
        sleep: Waits between two looks at the prediction log.

    Returns:
        `accepted` is False when a check failed; `reason` then says whether the roll-back worked.
    """
    api = connect(url)
    reach(api, version, policy)  # what is found instead, the checks tell
    checks: list[Judgement] = []
    questions: tuple[tuple[str, Callable[[], Judgement]], ...] = (
        ("ready", lambda: _ready(api)),
        ("version", lambda: _version(api, version)),
        ("golden rows", lambda: compare_golden(ports, api, version, forecaster, policy)),
        ("bad input", lambda: _bad_input(api, now)),
        ("metrics", lambda: _metrics(api, version)),
        ("prediction log", lambda: _logged(ports, api, forecaster, now, policy, sleep)),
    )
    for name, check in questions:
        try:
            checks.append(check())
        except Unavailable as error:
            checks.append(Judgement(name, False, str(error)))
        except (ValueError, KeyError, TypeError) as error:
            checks.append(Judgement(name, False, f"the answer cannot be read: {error!r}"))
    results = tuple(CheckResult(**asdict(check)) for check in checks)
    failed = [check for check in checks if not check.passed]
    if not failed:
        return RolloutResult(version, ports.registry.version_of("previous"), True, "the live API passed", results)
    reason = "; ".join(f"{check.name}: {check.detail}" for check in failed)
    rejected = {"rejected": "true", "rejected_reason": reason[:250]}
    try:  # traffic first: a registry that does not take a tag must not keep it on this version
        back = roll_back(ports, now, f"the live API failed its test after the promotion of {version}: {reason}")
    except RolloutRefused as error:
        ports.registry.tag(version, rejected)
        return RolloutResult(version, None, False, f"{reason}; no roll-back: {error}", results)
    ports.registry.tag(version, rejected)
    ports.registry.delete_alias("previous")  # it would point at the version that just failed
    return RolloutResult(version, back.version, False, f"{reason}; version {back.version} serves again", results)


def _ready(api: LiveApi) -> Judgement:
    answer = api.call("GET", "/readyz")
    return Judgement("ready", answer.status == 200, f"/readyz answered {answer.status}")


def _version(api: LiveApi, version: str) -> Judgement:
    answer = api.call("GET", "/model")
    live = json.loads(answer.body).get("model_version") if answer.status == 200 else None
    return Judgement("version", live == version, f"/model says {live}, expected {version}")


def _bad_input(api: LiveApi, now: datetime) -> Judgement:
    hour = now.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")
    fahrenheit = {
        "timestamp": hour, "temp_c": 77.0, "feels_like_c": 25.0, "humidity_pct": 50.0, "windspeed_kmh": 10.0,
        "weather": "clear",
    }
    answer = api.call("POST", "/predict", json.dumps({"instances": [fahrenheit]}).encode(), JSON)
    field = json.loads(answer.body)["error"]["field"] if answer.status == 422 else None
    passed = answer.status == 422 and field == "instances[0].temp_c"
    return Judgement("bad input", passed, f"77 °C was answered {answer.status}, field {field}")


def _metrics(api: LiveApi, version: str) -> Judgement:
    answer = api.call("GET", "/metrics")
    wanted = f'bikeshare_model_info{{version="{version}"}} 1.0'
    passed = answer.status == 200 and wanted in answer.body.decode()
    return Judgement("metrics", passed, f"/metrics {'shows' if passed else 'lacks'} {wanted}")


def _logged(
    ports: Ports, api: LiveApi, forecaster: Forecaster, now: datetime, policy: RolloutPolicy,
    sleep: Callable[[float], None],
) -> Judgement:
    """One real prediction, two days ahead (clients ask again for that hour), must reach the records."""
    row = golden_rows(recent_observations(forecaster, ports.records, now), now, policy).tail(1)
    row = row.assign(timestamp=row["timestamp"] + timedelta(hours=24))
    request_id = f"verify-{uuid.uuid4().hex}"
    answer, _ = ask(api, row, {**JSON, "X-Request-ID": request_id})
    if answer.status != 200:
        return Judgement("prediction log", False, f"/predict answered {answer.status}: {answer.body[:200]!r}")
    hour = row["timestamp"].iloc[0].to_pydatetime()
    started = time.monotonic()
    problem = "not found"
    while time.monotonic() - started < policy.log_seconds:
        try:
            batches = ports.records.iter_predictions(hour, hour + timedelta(hours=1), columns=("request_id",))
            if any((batch["request_id"] == request_id).any() for batch in batches):
                waited = time.monotonic() - started
                return Judgement("prediction log", True, f"the prediction was in the records after {waited:.1f} s")
        except BikeshareError as error:
            problem = str(error)
        sleep(POLL_SECONDS)
    return Judgement("prediction log", False, f"{problem} within {policy.log_seconds:g} s")
