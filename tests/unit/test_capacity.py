"""docs/capacity.md calculates what charts/bikeshare/values.yaml says."""

import math
import re
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from bikeshare.core.single_hour import SingleForecast, SingleHour
from services.predictor.logged import LoggedHour

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "capacity.md").read_text()
NUMBERS = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)}
VALUES = yaml.safe_load((ROOT / "charts" / "bikeshare" / "values.yaml").read_text())


def up_to_128(mib: int) -> int:
    return math.ceil(mib / 128) * 128


def test_the_calculation_is_right() -> None:
    pod = NUMBERS["answers_per_core"] * NUMBERS["cpu_request_millicores"] * NUMBERS["hpa_percent"] / 100_000
    needed = up_to_128(NUMBERS["resident_mib"] + NUMBERS["queue_mib"])

    assert (pod, needed, needed + 128) == (
        NUMBERS["keda_requests_per_second"], NUMBERS["memory_request_mib"], NUMBERS["memory_limit_mib"],
    )


def test_the_chart_has_these_numbers() -> None:
    resources, scaling = VALUES["predictor"]["resources"], VALUES["autoscaling"]

    assert resources == {
        "requests": {"cpu": f"{NUMBERS['cpu_request_millicores']}m", "memory": f"{NUMBERS['memory_request_mib']}Mi"},
        "limits": {"memory": f"{NUMBERS['memory_limit_mib']}Mi"},
    }
    assert (scaling["cpuPercent"], scaling["requestsPerSecond"]) == (
        NUMBERS["hpa_percent"], NUMBERS["keda_requests_per_second"],
    )


def test_the_spool_holds_what_the_page_says() -> None:
    found = re.search(r"([\d,]+) bytes a row: (\d+) MiB are ([\d,]+) rows, (\d+) minutes at ([\d,]+) requests/s", PAGE)
    assert found
    row, mib, rows, minutes, rate = (int(number.replace(",", "")) for number in found.groups())
    (line,) = LoggedHour(
        "0123456789abcdef0123456789abcdef", datetime(2012, 6, 20, 9, 30, 15, 123456), "12",
        SingleHour(372_000, 24.1, 25.3, 55.0, 12.7, 0),
        SingleForecast(312.4871937123457, 251.18736213456788, 380.99182731234566, 208.17263541234567,
                       441.88273641234565, 0, False, 26.504166666666666),
    ).lines()

    assert abs(len(line) - row) <= 5
    assert mib * 2**20 == VALUES["settings"]["spoolMaxBytes"]
    assert rows == mib * 2**20 // row // 10_000 * 10_000
    assert rate == NUMBERS["keda_requests_per_second"]
    assert minutes == rows // rate // 60


@pytest.mark.parametrize("rate", [100, 10_000, 1_000_000])
def test_pods_and_nodes(rate: int) -> None:
    pods = math.ceil(rate / NUMBERS["keda_requests_per_second"])
    per_node = 3_500 // NUMBERS["cpu_request_millicores"]

    assert f"| {rate:,} | {pods:,} | {math.ceil(pods / per_node)} |" in PAGE
