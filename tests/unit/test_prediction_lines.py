"""One prediction as one line: nothing changes on the way, and nothing in a text can end a field or a line."""

import json
import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bikeshare.core.prediction_lines import TABS, encode, fields_of, is_whole, line_of
from bikeshare.ports import PredictionRow

NOON = datetime(2012, 7, 2, 12)
PLAIN = PredictionRow(
    "0123456789abcdef", 0, NOON + timedelta(microseconds=7), "3", NOON, 20.1, 20.0, 50.0, 3.5, "mist", False, "00ff",
    312.4871937123457, 80.0, 380.99182731234566, 60.0, 441.88273641234565, "mean", True, None,
)

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\\\t\n\r\"'nrtN,{}\0", max_size=12)
floats = st.floats(allow_nan=False)
times = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(fold=0)
)
predictions = st.builds(
    PredictionRow, request_id=texts, position=st.integers(0, 2**31 - 1), predicted_at=times, model_version=texts,
    timestamp=times, temp_c=floats, feels_like_c=floats, humidity_pct=floats, windspeed_kmh=floats, weather=texts,
    is_holiday=st.booleans(), features_hash=texts, demand=floats, lower_80=floats, upper_80=floats, lower_95=floats,
    upper_95=floats, source=texts, degraded=st.booleans(), level_age_hours=st.none() | floats,
)


@given(predictions)
def test_every_prediction_reads_back_as_it_was(row: PredictionRow) -> None:
    line = encode(line_of(*row))

    assert repr(fields_of(line)) == repr(tuple(row))  # repr: -0.0 is not 0.0
    assert is_whole(line)
    assert line.count(b"\n") == line.count(b"\r") + 1 == 1


@given(predictions, st.data())
def test_no_part_of_a_line_is_taken_for_a_whole_one(row: PredictionRow, data: st.DataObject) -> None:
    line = encode(line_of(*row))
    cut = data.draw(st.integers(0, len(line) - 1))

    assert not is_whole(line[:cut])


def test_a_line_is_what_copy_reads() -> None:
    assert line_of(*PLAIN) == (
        "0123456789abcdef\t0\t2012-07-02T12:00:00.000007\t3\t2012-07-02T12:00:00\t20.1\t20.0\t50.0\t3.5\tmist\tf\t00ff"
        "\t312.4871937123457\t80.0\t380.99182731234566\t60.0\t441.88273641234565\tmean\tt\t\\N\n"
    )
    assert line_of(*PLAIN._replace(request_id="a\tb\\N\n", model_version="\r")).startswith("a\\tb\\\\N\\n\t0\t")
    assert line_of(*PLAIN._replace(level_age_hours=26.5)).endswith("\t26.5\n")
    assert len(PredictionRow._fields) == TABS + 1


def test_numbers_of_numpy_are_written_like_others() -> None:
    row = PLAIN._replace(
        position=np.int64(4), humidity_pct=np.int64(50), temp_c=np.float64(20.1), is_holiday=np.bool_(False),  # type: ignore[arg-type]
        windspeed_kmh=np.float32(3.5), level_age_hours=np.float32(0.25),  # type: ignore[arg-type]
    )

    assert fields_of(encode(line_of(*row))) == PLAIN._replace(position=4, level_age_hours=0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, -0.0, 1e16])
def test_the_ends_of_the_floats(value: float) -> None:
    found = fields_of(encode(line_of(*PLAIN._replace(demand=value, level_age_hours=value))))

    assert repr((found[12], found[19])) == repr((value, value))


def test_what_utf_8_cannot_say_is_a_question_mark() -> None:
    assert fields_of(encode(line_of(*PLAIN._replace(model_version="v\udc80")))) == PLAIN._replace(model_version="v?")


@pytest.mark.parametrize("line", [
    b"", b"\n", b"\t" * 18 + b"\n", encode(line_of(*PLAIN)).replace(b"\tt\t", b"\tmaybe\t"),
    encode(line_of(*PLAIN)).replace(b"\t50.0\t", b"\tfifty\t"), json.dumps(PLAIN, default=str).encode(),
])
def test_what_is_not_a_prediction_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut|neither|could not convert"):
        fields_of(line)
