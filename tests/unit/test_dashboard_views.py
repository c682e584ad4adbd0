"""What the dashboard shows of versions, health, drift and states; pure functions."""

from datetime import datetime, timedelta

import pytest

from bikeshare.adapters.scrape import read_exposition
from bikeshare.adapters.telemetry import METRICS
from bikeshare.core.advice import ADVICE, NOT_STARTED, advise
from bikeshare.core.checklist import checklist, occasion, slice_errors, standing, trained_on
from bikeshare.core.drift_view import columns_now, finding_figure, raw_figure, report_key, report_name
from bikeshare.core.health import HealthPolicy, Vitals, judge_health, overall, quantile, read_vitals
from bikeshare.core.monitor_facts import RetrainingPolicy
from bikeshare.core.monitor_memory import State
from bikeshare.core.promotion import Check, Promotion
from bikeshare.errors import DataError
from bikeshare.steps.gate import record_gate
from tests.fakes.registry import MemoryRegistry

POLICY = HealthPolicy()
WELL = Vitals(
    ready=True, requests=100, errors=0, p50=0.001, p95=0.002, p99=0.003, predicted_hours=100, degraded_hours=0,
    queue_rows=0, spooled_bytes=0, dropped_rows=0, snapshot_age_seconds=30, level_age_hours=6, labels_lag_hours=30,
    monitor_age_hours=1, champion_age_days=10,
)


def test_every_state_has_advice() -> None:
    assert set(ADVICE) == set(State)
    assert advise(None) is NOT_STARTED
    assert advise("escalated").kind == "bad"


def test_the_last_word_of_a_monitor_that_has_stopped_is_not_repeated() -> None:
    assert advise("healthy", POLICY.monitor_hours).kind == "ok"
    assert advise("healthy", POLICY.monitor_hours + 1).headline == "The monitor has been silent for 27 h"
    assert advise(None, 99.0) == advise(None)


def test_the_checklist_is_what_the_gate_wrote(tmp_path) -> None:
    registry = MemoryRegistry(tmp_path)
    run = registry.log_run(run_name="r", params={}, metrics={}, tags={})
    (tmp_path / "a").mkdir()
    version = registry.register(run, tmp_path / "a", {})
    detail = "MAE 10.0 against 20.0 of the naive rule, 30 rows"
    record_gate(registry, version, Promotion(False, "refused by bias", (
        Check("slice_rush_hour", True, 0.5, 1.1, detail),
        Check("slice_rain", True, 0.9, 1.1, "MAE 9.0 against 10.0 of the naive rule, 8 rows", informative=True),
        Check("bias", False, 0.3, 0.12, "+30.0% of all rentals"),
    )))

    lines = checklist(registry.get(version).tags)
    parts = slice_errors(registry.get(version).tags)

    assert [(line.name, line.verdict) for line in lines] == [
        ("bias", "failed"), ("slice_rush_hour", "passed"), ("slice_rain", "info"),
    ]
    assert lines[1].detail == detail
    assert [(part.name, part.ours, part.other, part.rows) for part in parts] == [
        ("rain", 9.0, 10.0, 8), ("rush hour", 10.0, 20.0, 30),
    ]
    assert parts[0].against == "naive rule"


@pytest.mark.parametrize(
    ("tags", "aliases", "word"),
    [
        ({}, ("champion",), "champion"), ({"gate": "refused"}, (), "refused"), ({"rejected": "true"}, (), "refused"),
        ({"rollout": "rolled_back"}, ("previous",), "previous"), ({"rollout": "rolled_back"}, (), "rolled back"),
        ({"rollout": "serving"}, ("champion",), "champion"), ({"rollout": "serving"}, (), "served before"),
        ({"status": "challenger"}, (), "challenger"), ({}, (), "registered"),
    ],
)
def test_standing(tags, aliases, word) -> None:
    assert standing(tags, aliases)[0] == word


@pytest.mark.parametrize(("reason", "text"), [
    ("manual", "A person asked for it."), ("schedule", "The schedule asked for it."), ("Decay confirmed.",) * 2,
])
def test_why_a_version_was_trained_is_a_sentence(reason, text) -> None:
    assert occasion({"reason": reason}) == text
    assert occasion({}) == ""


@pytest.mark.parametrize(("end", "text"), [
    ("2012-02-03T00:00:00", "1 Jan 2011 to 2 Feb 2012"), ("2012-02-03T01:00:00", "1 Jan 2011 to 3 Feb 2012"),
])
def test_the_end_of_a_window_is_its_first_hour_outside(end, text) -> None:
    assert trained_on({"window_start": "2011-01-01T00:00:00", "window_end": end}) == text
    assert trained_on({"window_start": "2011-01-01T00:00:00"}) == ""


@pytest.mark.parametrize(("seconds", "text"), [
    (0.012, "12.0 ms"), (45, "45 s"), (2273, "38 min"), (7300, "2 h"),
])
def test_an_age_is_told_in_the_unit_that_fits(seconds, text) -> None:
    signs = judge_health(Vitals(snapshot_age_seconds=seconds), POLICY, 60)

    assert next(sign.value for sign in signs if sign.name == "history snapshot") == text


def test_health_and_the_monitor_wait_equally_long() -> None:
    guards = RetrainingPolicy()
    assert (POLICY.labels_lag_hours, POLICY.champion_days) == (guards.labels_late_hours, guards.max_age_days)


def test_what_ifs_do_not_make_a_service_look_degraded() -> None:
    """The golden rows of a roll-out are 190 what-ifs without a fresh level; they were never served."""
    def degraded(vitals: Vitals) -> tuple[str, str]:
        (sign,) = [sign for sign in judge_health(vitals, POLICY, 60) if sign.name == "degraded hours"]
        return sign.value, sign.status

    assert degraded(Vitals(predicted_hours=290, degraded_hours=190, what_if_hours=190)) == ("0.00%", "ok")
    assert degraded(Vitals(predicted_hours=290, degraded_hours=200, what_if_hours=190)) == ("10.00%", "warn")
    assert degraded(Vitals(predicted_hours=190, degraded_hours=190, what_if_hours=190)) == ("–", "unknown")


def test_a_quantile_lies_inside_its_bucket() -> None:
    buckets = [(0.01, 50.0), (0.1, 100.0), (float("inf"), 100.0)]

    assert quantile(buckets, 0.5) == pytest.approx(0.01)
    assert quantile(buckets, 0.75) == pytest.approx(0.055)
    assert quantile([(0.01, 0.0), (float("inf"), 5.0)], 0.9) == pytest.approx(0.01)
    assert quantile([], 0.5) is None
    assert quantile([(0.01, 0.0)], 0.5) is None


PAGE = """
bikeshare_requests_total{route="/predict",code="200"} 90
bikeshare_requests_total{route="/predict",code="500"} 5
bikeshare_requests_total{route="/forecast",code="503"} 5
bikeshare_requests_total{route="/metrics",code="500"} 77
bikeshare_request_seconds_bucket{route="/predict",le="0.01"} 50
bikeshare_request_seconds_bucket{route="/predict",le="+Inf"} 100
bikeshare_request_seconds_bucket{route="/metrics",le="0.01"} 0
bikeshare_request_seconds_bucket{route="/metrics",le="+Inf"} 900
bikeshare_prediction_log_dropped_total{reason="torn"} 1
bikeshare_prediction_log_dropped_total{reason="queue_full"} 2
"""


def test_vitals_count_what_users_feel() -> None:
    vitals = read_vitals(read_exposition(PAGE), ready=True)

    assert (vitals.requests, vitals.errors, vitals.dropped_rows) == (100, 10, 3)
    assert vitals.p50 == pytest.approx(0.01)
    assert vitals.queue_rows is None
    assert read_vitals({}, ready=False).requests is None


def test_a_page_that_is_no_metrics_page_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_exposition("bikeshare{ 3")


def test_the_metrics_that_health_reads_exist() -> None:
    import inspect

    from bikeshare.core import health

    read = {word for word in inspect.getsource(health).replace('"', " ").split() if word.startswith("bikeshare_")}
    assert read
    assert {name.removesuffix("_bucket") for name in read} <= set(METRICS)


def test_all_is_well() -> None:
    signs = judge_health(WELL, POLICY, 60)

    assert overall(signs) == "ok"
    assert [sign.advice for sign in signs if sign.advice] == []


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({"ready": False}, "live API", "bad"), ({"p99": 0.2}, "latency p99", "warn"),
        ({"errors": 2}, "failed answers (5xx)", "bad"), ({"degraded_hours": 6}, "degraded hours", "warn"),
        ({"degraded_hours": 86, "what_if_hours": 80, "predicted_hours": 180}, "degraded hours", "warn"),
        ({"queue_rows": 30_000}, "queue", "warn"), ({"spooled_bytes": 1}, "spool on disk", "warn"),
        ({"dropped_rows": 1}, "lost predictions", "bad"), ({"snapshot_age_seconds": 301}, "history snapshot", "warn"),
        ({"level_age_hours": 51}, "level", "warn"), ({"labels_lag_hours": 55}, "newest label", "warn"),
        ({"monitor_age_hours": 27}, "monitor's last look", "bad"),
        ({"champion_age_days": 57}, "champion's newest training hour", "warn"),
    ],
)
def test_each_sign_over_its_limit_says_what_to_do(change, name, status) -> None:
    ill = judge_health(Vitals(**{**WELL.__dict__, **change}), POLICY, 60)
    sign = next(sign for sign in ill if sign.name == name)

    assert sign.status == status
    assert sign.advice
    assert overall(ill) == status
    assert [other.name for other in ill if other.status != "ok"] == [name]


def test_nothing_known_is_unknown_not_well() -> None:
    signs = judge_health(Vitals(), POLICY, 60)

    assert {sign.status for sign in signs} == {"unknown"}
    assert overall(signs) == "unknown"


def look(day: int, **evidence):
    return datetime(2012, 1, day), evidence


def finding(value: float, limit: float = 0.3, name: str = "wape"):
    return {"name": name, "value": value, "limit": limit, "exceeded": value > limit}


def test_a_look_without_the_quantity_is_a_gap() -> None:
    figure = finding_figure([look(1, findings=[finding(0.1)]), look(2), look(3, findings=[finding(0.4)])], "wape")

    assert [line.values for line in figure.lines] == [[0.3, None, 0.3], [0.1, None, 0.4]]
    assert finding_figure([look(1)], "wape").positions == []


def test_several_looks_of_a_day_are_named_once() -> None:
    at, evidence = look(2, raw_drift_share=0.2)
    looks = [look(1, raw_drift_share=0.1), (at, evidence), (at + timedelta(hours=6), evidence)]

    assert raw_figure(looks).ticks == [(0, "1 Jan"), (1, "2 Jan")]
    assert len(raw_figure(looks).positions) == 3


def test_the_raw_verdict_is_shown_where_it_was_made() -> None:
    assert raw_figure([look(1, raw_drift_share=0.8), look(2)]).lines[0].values == [0.8, None]
    assert raw_figure([look(1, raw_drift_share=None)]).positions == []


def test_columns_stand_against_their_own_limit_and_evidentlys() -> None:
    gauges = {
        "bikeshare_drift_score\ttemp_c\tw1": 0.8, "bikeshare_drift_score\ttemp_c\tseason": 0.2,
        "bikeshare_drift_limit\ttemp_c\tseason": 0.5, "bikeshare_drift_score\tweather\tjs": 0.05,
        "bikeshare_drift_score\tweather\tseason": 0.4, "bikeshare_drift_limit\tweather\tseason": 0.3,
        "bikeshare_model_wape": 0.2,
    }

    temperature, weather = columns_now(gauges)

    assert (temperature.over_limit, temperature.raw_drifted) == (False, True)
    assert (weather.over_limit, weather.raw_drifted) == (True, False)
    assert columns_now({}) == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("reports/date=2012-02-04/0600-drift/report.html", "2012-02-04 06:00, drift"),
        ("reports/date=2012-02-04/0600-labels_late/report.html", "2012-02-04 06:00, labels late"),
        ("reports/weekly/2012-W05.html", "summary of week 2012-W05"), ("other", "other"),
    ],
)
def test_reports_have_names(key, name) -> None:
    assert report_name(key) == name


@pytest.mark.parametrize("place", ["s3://bikes/reports", "file:///srv/reports/bikes/reports", "file:///srv/bikes/reports"])
def test_a_report_is_found_wherever_the_store_lies(place: str) -> None:
    assert report_key(f"{place}/date%3D2012-05-14/0600-drift/report.html") == (
        "reports/date=2012-05-14/0600-drift/report.html"
    )
