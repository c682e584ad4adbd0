"""Bring a packaged version to live traffic, or leave everything as it was.

canary → golden rows → latency and errors → promote → aliases; any failed check: canary removed, aliases untouched, the
version tagged `rejected` with the reason, an alert. Aliases that cannot be moved: the traffic returns.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from bikeshare.core.alerts import Alert
from bikeshare.core.batch import WeatherBatch
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.rollout import (
    ANSWERS,
    DEFAULT_ROLLOUT,
    Judgement,
    LiveAnswer,
    RolloutPolicy,
    golden_rows,
    judge_golden,
    judge_probes,
)
from bikeshare.errors import BikeshareError, RolloutRefused, TemporaryError, Unavailable
from bikeshare.ports import CheckResult, Ports, RolloutResult
from bikeshare.steps.snapshot import build_snapshot, recent_observations

REACH_PAUSE_SECONDS = 0.2
JSON = {"Content-Type": "application/json"}
WHAT_IF = {**JSON, "X-What-If": "true"}
"""Probes are answered like any request, but they are no forecasts of anybody: they stay out of the prediction log."""


class LiveApi(Protocol):
    """The predictor's HTTP API under one base URL."""

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> LiveAnswer:
        """One exchange; raises Unavailable when nobody answers."""
        ...


class _Canary:
    """A canary that does not answer has failed; records that do not answer say nothing about it."""

    def __init__(self, api: LiveApi) -> None:
        self._api = api

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> LiveAnswer:
        try:
            return self._api.call(method, path, body, headers)
        except Unavailable as error:
            raise RolloutRefused(f"the canary stopped answering: {error}") from error


Connect = Callable[[str], LiveApi]
"""Base URL -> client; doors pass `bikeshare.adapters.live_api.HttpApi` with the API key."""


def roll_out(
    ports: Ports, version: str, forecaster: Forecaster, now: datetime, *, connect: Connect,
    policy: RolloutPolicy = DEFAULT_ROLLOUT, before_switch: Callable[[], object] | None = None,
) -> RolloutResult:
    """Start a version beside the serving one, check it, and switch.

    Args:
        ports: Collaborators; rollouts, records, registry and notifier are used.
        version: Packaged version.
        forecaster: The version's own forecaster, loaded from its artifact: the offline side of the comparison.
        now: The clock's time, for the alert.
        connect: Makes a client of the canary's URL.
        policy: Limits.
        before_switch: Called when all checks have passed and traffic has not moved; what it raises ends the roll-out.

    Returns:
        What was done; `accepted` is False when a check failed and everything was left as it was.

    Raises:
        Unavailable: the supervisor, the records or the registry did not answer; the canary was removed. When it was
            the registry after traffic had moved, traffic was returned, or the message names what serves.
    """
    previous = ports.rollouts.serving_version()
    aliases = {alias: ports.registry.version_of(alias) for alias in ("champion", "previous", "challenger")}
    promoted = False
    checks: list[Judgement] = []
    try:
        try:
            url = ports.rollouts.start_canary(version)
        except RolloutRefused as error:
            checks.append(Judgement("canary", False, str(error)))
        else:
            api = connect(url)
            problem = reach(api, version, policy)
            checks.append(Judgement("canary", problem is None, problem or f"ready at {url}"))
            if problem is None:
                checks.extend(_examine(ports, _Canary(api), version, forecaster, policy))
        if all(check.passed for check in checks):
            if before_switch is not None:
                before_switch()
            try:
                ports.rollouts.promote_canary(version)
                promoted = True
            except RolloutRefused as error:
                checks.append(Judgement("promotion", False, str(error)))
    finally:
        if not promoted:
            ports.rollouts.abort_canary(version)
    if not promoted:
        return _reject(ports, version, previous, checks, now)
    try:
        move_aliases(ports, version)
        ports.registry.tag(version, {"rollout": "serving", "rollout_at": now.isoformat()})
    except BikeshareError as error:
        raise Unavailable(
            f"the registry could not note that version {version} serves: {error}; "
            + _take_back(ports, version, previous, aliases)
        ) from error
    return _result(version, previous, True, "all checks passed", checks)


def roll_back(ports: Ports, now: datetime, reason: str, *, to: str | None = None) -> RolloutResult:
    """Serve the alias `previous` (or `to`) again and swap the aliases; golden rows are not repeated.

    A canary of another version is removed first: a roll-out that still goes on is refused, one that died would
    otherwise stand in the way.

    Raises:
        RolloutRefused: there is no previous version, or it does not become ready; what serves is untouched.
    """
    failed = ports.rollouts.serving_version()
    champion = ports.registry.version_of("champion")
    target = to or ports.registry.version_of("previous")
    if target is None:
        raise RolloutRefused("there is no previous version to return to: the first one cannot be rolled back")
    canary = ports.rollouts.canary_version()
    if canary is not None and canary != target:
        ports.rollouts.abort_canary(canary)
    if target != failed:
        _return_traffic(ports, target)
    ports.registry.set_alias("champion", target)
    if champion is not None and champion != target:
        ports.registry.set_alias("previous", champion)
        ports.registry.tag(champion, {
            "rollout": "rolled_back", "rollout_reason": reason[:250], "rolled_back_at": now.isoformat(),
        })
    ports.registry.tag(target, {"rollout": "serving", "rollout_at": now.isoformat()})
    _tell(ports, target, Alert(
        kind="rolled_back", key=f"rolled_back:{champion}:{target}:{now:%Y-%m-%dT%H}", incident=f"rollout:{champion}",
        title=f"Version {target} serves again instead of {champion or failed}.", reason=reason,
        action=f"Traffic and the champion alias returned to version {target}.", at=now,
        command="bikeshare registry list",
    ))
    return RolloutResult(target, failed, True, reason)


def move_aliases(ports: Ports, version: str) -> None:
    """Champion becomes this version, the old champion `previous`; safe to repeat."""
    champion = ports.registry.version_of("champion")
    if champion is not None and champion != version:
        ports.registry.set_alias("previous", champion)
    ports.registry.set_alias("champion", version)
    if ports.registry.version_of("challenger") == version:
        ports.registry.delete_alias("challenger")


def _return_traffic(ports: Ports, target: str) -> None:
    ports.rollouts.start_canary(target)
    try:
        ports.rollouts.promote_canary(target)
    except BikeshareError:
        ports.rollouts.abort_canary(target)
        raise


def _take_back(ports: Ports, version: str, previous: str | None, aliases: Mapping[str, str | None]) -> str:
    """Undo a switch that the registry did not note; the answer says what serves now."""
    if previous is None:
        return f"version {version} serves, since nothing served before"
    try:
        if previous != version:
            _return_traffic(ports, previous)
    except BikeshareError as error:
        return f"version {version} serves, since the traffic could not be returned: {error}"
    try:
        for alias, at in aliases.items():
            if at is None:
                ports.registry.delete_alias(alias)
            else:
                ports.registry.set_alias(alias, at)
    except BikeshareError as error:
        return f"version {previous} serves again, but the aliases may be wrong: {error}"
    return f"version {previous} serves again"


def instance(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One row of a frame as an API instance."""
    values = {name: row[name] for name in ("temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh")}
    return {
        "timestamp": row["timestamp"].isoformat(timespec="minutes"),
        **{name: float(value) for name, value in values.items()}, "weather": str(row["weather"]),
    }


def ask(api: LiveApi, rows: pd.DataFrame, headers: Mapping[str, str] = WHAT_IF) -> tuple[LiveAnswer, dict[str, Any]]:
    """Send rows to /predict; the parsed body is empty unless the answer is 200."""
    body = json.dumps({"instances": [instance(row) for row in rows.to_dict("records")]}).encode()
    answer = api.call("POST", "/predict", body, headers)
    return answer, json.loads(answer.body) if answer.status == 200 else {}


def reach(api: LiveApi, version: str, policy: RolloutPolicy) -> str | None:
    """Wait until the address leads to a ready predictor of the version; what was found instead, None when it does.

    Every look is a connection of its own: a kept one would go on leading to the pod that answered first.
    """
    deadline = time.monotonic() + policy.reach_seconds
    while True:
        try:
            answer = api.call("GET", "/-/state", headers={"Connection": "close"})
            if answer.status == 200:
                state = json.loads(answer.body)
                live, ready = state["model_version"], state["snapshot"] is not None
                if live == version and ready:
                    return None
                found = f"version {live} answers there{'' if ready else ' and has no snapshot'}"
            else:
                found = f"/-/state answered {answer.status}: {answer.body[:200]!r}"
        except (Unavailable, ValueError, KeyError, TypeError) as error:
            found = f"{error!r}"
        if time.monotonic() >= deadline:
            return f"version {version} was not reached within {policy.reach_seconds:g} s: {found}"
        time.sleep(REACH_PAUSE_SECONDS)


def compare_golden(
    ports: Ports, api: LiveApi, version: str, forecaster: Forecaster, policy: RolloutPolicy
) -> Judgement:
    """Live answers against the artifact's own, on the same history.

    The live snapshot names its moment and its newest label; the offline one is built for the same. When it moves
    between the questions (a new hour, new labels), the comparison is made again.
    """
    verdict = Judgement("golden rows", False, "no comparison was possible")
    for _ in range(policy.golden_attempts):
        before = _snapshot_state(api)
        if before is None:
            return Judgement("golden rows", False, "/-/state names no snapshot any more")
        as_of = datetime.fromisoformat(before["as_of"])
        observations = recent_observations(forecaster, ports.records, as_of)
        rows = golden_rows(observations, as_of, policy)
        answer, body = ask(api, rows)
        if answer.status != 200:
            return Judgement("golden rows", False, f"/predict answered {answer.status}: {answer.body[:300]!r}")
        snapshot = build_snapshot(
            forecaster, ports.records, version, as_of, keep_levels=False, observations=observations
        )
        offline = forecaster.predict(WeatherBatch.from_frame(rows), snapshot, as_of)
        verdict = judge_golden({name: getattr(offline, name) for name in ANSWERS}, body["predictions"], policy)
        if body["model_version"] != version:
            return Judgement("golden rows", False, f"version {body['model_version']} answered instead of {version}")
        if verdict.passed or _same_snapshot(before, _snapshot_state(api)):
            return verdict
    return verdict


def _examine(
    ports: Ports, api: LiveApi, version: str, forecaster: Forecaster, policy: RolloutPolicy
) -> list[Judgement]:
    checks: list[Judgement] = []
    try:
        checks.append(compare_golden(ports, api, version, forecaster, policy))
        if checks[0].passed:
            checks.extend(_probe(api, policy))
    except RolloutRefused as error:
        checks.append(Judgement("answers", False, str(error)))
    except (ValueError, KeyError, TypeError) as error:
        checks.append(Judgement("answers", False, f"the canary's answer cannot be read: {error!r}"))
    return checks


def _probe(api: LiveApi, policy: RolloutPolicy) -> tuple[Judgement, Judgement]:
    state = _snapshot_state(api) or {}
    now = datetime.fromisoformat(state["as_of"])
    row = golden_rows(pd.DataFrame(), now, policy).tail(1)
    seconds: list[float] = []
    failures: list[str] = []
    until = time.monotonic() + policy.watch_seconds
    while len(seconds) + len(failures) < policy.probe_requests or time.monotonic() < until:
        answer, _ = ask(api, row)
        if answer.status == 200:
            seconds.append(answer.seconds)
        else:
            failures.append(f"{answer.status}: {answer.body[:200]!r}")
    return judge_probes(seconds, failures, policy)


def _snapshot_state(api: LiveApi) -> dict[str, Any] | None:
    answer = api.call("GET", "/-/state")
    if answer.status != 200:
        return None
    state: dict[str, Any] | None = json.loads(answer.body).get("snapshot")
    return state


def _same_snapshot(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> bool:
    return after is not None and all(before[name] == after[name] for name in ("as_of", "labels_until", "levels"))


def _reject(
    ports: Ports, version: str, previous: str | None, checks: list[Judgement], now: datetime
) -> RolloutResult:
    reason = "; ".join(f"{check.name}: {check.detail}" for check in checks if not check.passed)
    ports.registry.tag(version, {"rejected": "true", "rejected_reason": reason[:250], "rollout": "rejected"})
    serving = f"version {previous} keeps serving" if previous else "nothing serves yet"
    _tell(ports, version, Alert(
        kind="rolled_back", key=f"rollout_refused:{version}", incident=f"rollout:{version}",
        title=f"Version {version} failed its checks and was not rolled out.", reason=reason,
        action=f"The canary was removed, the aliases were not touched; {serving}.", at=now,
        moved=tuple((check.name, check.detail) for check in checks if not check.passed)[:3],
        command="bikeshare registry list",
    ))
    return _result(version, previous, False, reason, checks)


def _tell(ports: Ports, version: str, alert: Alert) -> None:
    """Traffic has moved already: an alert that cannot be sent is noted, it must not look like a failed roll-out."""
    try:
        ports.notifier.send(alert)
    except TemporaryError as error:
        ports.registry.tag(version, {"alert_not_sent": str(error)[:250]})


def _result(
    version: str, previous: str | None, accepted: bool, reason: str, checks: list[Judgement]
) -> RolloutResult:
    return RolloutResult(version, previous, accepted, reason, tuple(CheckResult(**asdict(check)) for check in checks))
