"""What really happened during a play, read back from the records."""

from datetime import date, datetime, time

import pandas as pd

from bikeshare.core.diary import Diary, compare
from bikeshare.core.forecasting import Forecaster
from bikeshare.ports import Records


def read_diary(records: Records, reality: pd.DataFrame, first: Forecaster, start: date, end: date) -> Diary:
    """Collect a play.

    Args:
        records: Holds what was served.
        reality: What really happened, including the days before the play (the naive rule reads them).
        first: The first model; it answers again without any history, on the real weather.
        start: First played day.
        end: Day after the last one.
    """
    begin, until = datetime.combine(start, time()), datetime.combine(end, time())
    columns = ["timestamp", "demand", "model_version", "predicted_at"]
    frames = list(records.iter_predictions(begin, until, columns=columns))
    served = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    served = served.sort_values("predicted_at")
    served = served.drop_duplicates("timestamp", keep="last").rename(columns={"demand": "served"})
    truth = reality[(reality["timestamp"] >= begin) & (reality["timestamp"] < until)]
    hours = truth.merge(served[["timestamp", "served", "model_version"]], on="timestamp", how="inner")
    return compare(hours, reality[reality["timestamp"] < until], first)
