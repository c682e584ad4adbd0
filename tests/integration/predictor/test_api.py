"""The running predictor over HTTP: answers, refusals, parity, metrics, its contract."""

import http.client
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bikeshare.adapters.records.tables import predictions
from bikeshare.core.batch import WeatherBatch
from bikeshare.core.rollout import ANSWERS
from bikeshare.steps.snapshot import build_snapshot
from tests.integration.predictor.world import NOW, Client, Started, World, instance, predictor, wait_until


@pytest.fixture
def client(live: Started) -> Iterator[Client]:
    made = Client(live.url)
    yield made
    made.close()


def day(start: datetime = NOW, hours: int = 24) -> list[dict[str, Any]]:
    return [instance(start + timedelta(hours=hour), temp_c=20.0 + hour % 7) for hour in range(hours)]


def offline(world: World, rows: list[dict[str, Any]], as_of: datetime = NOW) -> dict[str, list[float]]:
    forecaster = world.forecaster("1")
    snapshot = build_snapshot(forecaster, world.records, "1", as_of, keep_levels=False)
    frame = pd.DataFrame(rows)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"])
    forecast = forecaster.predict(WeatherBatch.from_frame(frame), snapshot, as_of)
    return {name: getattr(forecast, name).tolist() for name in (*ANSWERS, "source", "degraded")}


def test_one_hour_is_answered_with_its_band(client: Client) -> None:
    status, body = client.post("/predict", {"instances": [instance()]}, X_Request_ID="mine-1")

    assert status == 200
    assert (body["model_version"], body["request_id"]) == ("1", "mine-1")
    answer = body["predictions"][0]
    assert answer["timestamp"] == NOW.isoformat(timespec="minutes")
    assert answer["lower_95"] <= answer["lower_80"] <= answer["demand"] <= answer["upper_80"] <= answer["upper_95"]
    assert (answer["source"], answer["degraded"], answer["level_age_hours"]) == ("mean", False, 9.0)


@pytest.mark.parametrize(("start", "sources"), [
    (NOW, {"mean"}),
    (NOW - timedelta(hours=100), {"stateless_online"}),
    (NOW + timedelta(hours=300), {"stateless_online"}),
    (NOW + timedelta(hours=76), {"mean", "stateless_online"}),
])
def test_live_equals_offline(client: Client, shared_world: World, start: datetime, sources: set[str]) -> None:
    rows = day(start)
    expected = offline(shared_world, rows)
    _, body = client.post("/predict", {"instances": rows})

    for name in ANSWERS:
        seen = [answer[name] for answer in body["predictions"]]
        assert np.allclose(expected[name], seen, rtol=1e-9, atol=0), name
    assert [answer["source"] for answer in body["predictions"]] == expected["source"]
    assert [answer["degraded"] for answer in body["predictions"]] == expected["degraded"]
    assert set(expected["source"]) == sources


def test_a_holiday_changes_the_answer(client: Client) -> None:
    plain, stated = (
        client.post("/predict", {"instances": [instance(is_holiday=flag)]})[1]["predictions"][0]["demand"]
        for flag in (False, True)
    )

    assert plain != stated


def test_a_forecast_follows_the_clock(client: Client) -> None:
    hours = [{name: value for name, value in row.items() if name != "timestamp"} for row in day()]
    status, body = client.post("/forecast", {"weather": hours})

    assert status == 200
    expected = [(NOW + timedelta(hours=1 + hour)).isoformat(timespec="minutes") for hour in range(24)]
    assert [answer["timestamp"] for answer in body["predictions"]] == expected


def test_the_model_describes_itself(client: Client) -> None:
    status, body = client.get("/model")

    assert status == 200
    assert body["model_version"] == "1"
    assert body["metrics"] == {"wape": 0.2}
    assert body["contract"]["contract_version"] == "1"
    assert body["snapshot"]["levels"]["stateless"]["level"] > 0
    assert body["card"].startswith("# Version 1")


def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    status, headers, content = client.send("GET", "/")

    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"http://" not in content
    assert b"https://" not in content


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes(client: Client, path: str) -> None:
    assert client.send("GET", path)[0] == 200


@pytest.mark.parametrize(("method", "path", "status", "allowed"), [
    ("GET", "/predict", 405, "POST"), ("PUT", "/forecast", 405, "POST"), ("POST", "/model", 405, "GET"),
    ("DELETE", "/metrics", 405, "GET"), ("GET", "/nothing", 404, None), ("GET", "/predict/", 404, None),
    ("POST", "//-/refresh", 404, None), ("POST", "/%252D/refresh", 404, None), ("POST", "/x/../-/refresh", 404, None),
    ("POST", "/-//refresh", 404, None), ("GET", "/%2D/refresh", 405, "POST"),
])
def test_wrong_routes_and_methods(client: Client, method: str, path: str, status: int, allowed: str | None) -> None:
    seen, headers, content = client.send(method, path)

    assert seen == status
    assert headers.get("allow") == allowed
    assert json.loads(content)["error"]["code"] in ("method_not_allowed", "not_found")


@pytest.mark.parametrize(("headers", "status"), [
    ({"Content-Type": "text/plain"}, 415), ({}, 415), ({"Content-Type": "application/xml"}, 415),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
])
def test_the_content_type_must_be_json(client: Client, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"instances": [instance()]}).encode()

    assert client.send("POST", "/predict", body, headers)[0] == status


@pytest.mark.parametrize(("body", "status", "code", "field"), [
    (b"no json", 400, "invalid_json", None),
    (b"\xff\xfe", 400, "invalid_json", None),
    (json.dumps({"instances": [instance(temp_c=77)]}).encode(), 422, "out_of_range", "instances[0].temp_c"),
    (json.dumps({"instances": [instance(casual=3)]}).encode(), 422, "unknown_field", "instances[0].casual"),
    (json.dumps({"instances": [instance(temp_c=float("nan"))]}).encode(), 422, "not_finite", "instances[0].temp_c"),
    (json.dumps({"instances": [instance(datetime(2030, 1, 1))]}).encode(), 422, "timestamp_out_of_window",
     "instances[0].timestamp"),
])
def test_mistakes_come_back_with_field_and_request_id(
    client: Client, body: bytes, status: int, code: str, field: str | None
) -> None:
    seen, headers, content = client.send(
        "POST", "/predict", body, {"Content-Type": "application/json", "X-Request-ID": "bad-1"}
    )
    answer = json.loads(content)

    assert (seen, answer["error"]["code"], answer["error"]["field"]) == (status, code, field)
    assert (answer["request_id"], headers["x-request-id"]) == ("bad-1", "bad-1")


def test_ten_thousand_rows_are_refused_without_being_read(client: Client) -> None:
    rows = [instance()] * 10_001
    status, body = client.post("/predict", {"instances": rows})

    assert status == 413
    assert body["error"]["code"] == "body_too_large"


def test_a_body_without_length_is_bounded_too(live: Started) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", int(live.url.rsplit(":", 1)[1])), timeout=20) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(32):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        head = connection.recv(4_096)

    assert head.startswith(b"HTTP/1.1 413")


def test_the_longest_request_id_is_the_longest_that_the_log_can_hold(client: Client) -> None:
    longest = predictions.c.request_id.type.length
    for length, kept in ((longest, True), (longest + 1, False)):
        given = "x" * length
        _, body = client.post("/predict", {"instances": [instance()]}, X_Request_ID=given)
        assert (body["request_id"] == given) is kept


def test_an_odd_request_id_is_replaced(client: Client) -> None:
    _, body = client.post("/predict", {"instances": [instance()]}, X_Request_ID="spaces and ünïcode"[:7])

    assert body["request_id"] != "spaces "
    assert len(body["request_id"]) == 32


def test_metrics_tell_requests_sources_and_version(client: Client) -> None:
    before = client.metric("bikeshare_requests_total", route="/predict", code="422")
    rows = client.metric("bikeshare_predictions_total", source="mean")
    degraded = client.metric("bikeshare_degraded_predictions_total", reason="history_missing")
    client.post("/predict", {"instances": [instance(temp_c=77)]})
    client.post("/predict", {"instances": day(hours=5)})
    client.post("/predict", {"instances": day(NOW + timedelta(hours=300), hours=2)})

    assert client.metric("bikeshare_requests_total", route="/predict", code="422") == before + 1
    assert client.metric("bikeshare_predictions_total", source="mean") == rows + 5
    assert client.metric("bikeshare_degraded_predictions_total", reason="history_missing") == degraded + 2
    assert client.metric("bikeshare_model_info", version="1") == 1
    assert client.metric("bikeshare_level_age_hours") == 9
    assert client.metric("bikeshare_request_seconds_count", route="/predict") > 0


def test_unknown_paths_do_not_grow_the_metrics(client: Client) -> None:
    client.get("/once")
    size = len(client.send("GET", "/metrics")[2].splitlines())
    for number in range(20):
        client.get(f"/made/up/{number}")

    assert len(client.send("GET", "/metrics")[2].splitlines()) == size


def test_predictions_are_logged_and_hypothetical_ones_are_not(client: Client, shared_world: World) -> None:
    client.post("/predict", {"instances": day(hours=3)}, X_Request_ID="logged-1")
    client.post("/predict", {"instances": day(hours=3)}, X_Request_ID="what-if-1", X_What_If="true")

    def logged() -> pd.DataFrame | None:
        frames = list(shared_world.records.iter_predictions(NOW, NOW + timedelta(hours=48)))
        found = pd.concat(frames) if frames else pd.DataFrame({"request_id": []})
        return found if (found["request_id"] == "logged-1").sum() == 3 else None

    wait_until(lambda: logged() is not None, what="the log")
    found = logged()
    assert found is not None
    mine = found[found["request_id"] == "logged-1"].sort_values("position")
    expected = offline(shared_world, day(hours=3))
    assert mine["demand"].tolist() == pytest.approx(expected["demand"])
    assert mine["source"].tolist() == expected["source"]
    assert mine["model_version"].unique().tolist() == ["1"]
    assert mine["temp_c"].tolist() == [20.0, 21.0, 22.0]
    assert "what-if-1" not in set(found["request_id"])


def test_the_levels_are_kept_as_a_trail(client: Client, shared_world: World) -> None:
    levels = {row.forest: row for row in shared_world.records.levels("1")}

    _, body = client.get("/model")
    assert {name: level["level"] for name, level in body["snapshot"]["levels"].items()} == {
        name: row.level for name, row in levels.items()
    }


def test_pipelined_clients_are_served_while_a_large_batch_is_computed(live: Started) -> None:
    large, small = Client(live.url), Client(live.url)
    rows = day(hours=384)
    assert large.post("/predict", {"instances": rows})[0] == 200
    assert small.post("/predict", {"instances": [instance()]})[0] == 200
    large.close()
    small.close()


def test_an_api_key_is_required_where_it_is_set(world: World) -> None:
    with predictor(world, BIKESHARE_API_KEY="s3cret") as running:
        client = Client(running.url)
        rows = {"instances": [instance()]}

        assert client.post("/predict", rows)[0] == 401
        assert client.post("/predict", rows, X_API_Key="wrong")[0] == 401
        assert client.post("/predict", rows, X_API_Key="s3cret")[0] == 200
        assert client.get("/model")[0] == 401
        assert client.get("/model", X_API_Key="s3cret")[0] == 200
        assert client.send("GET", "/readyz")[0] == 200
        assert client.send("GET", "/metrics")[0] == 200


def test_half_a_request_is_no_answer_and_no_harm(live: Started) -> None:
    connection = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=5)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "500")
    connection.endheaders(b'{"instances"')
    connection.close()

    assert Client(live.url).post("/predict", {"instances": [instance()]})[0] == 200
