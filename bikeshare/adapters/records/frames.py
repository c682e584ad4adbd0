"""Between frames and rows: observations, predictions, and truth beside what was served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, String, and_, delete, func, select, type_coerce

from bikeshare.adapters.records.database import Database
from bikeshare.adapters.records.tables import observations, predictions
from bikeshare.core.contract import OBSERVATION, TARGET, WEATHER_NUMBERS
from bikeshare.core.grid import HourlyGrid, grid_of
from bikeshare.core.prediction_lines import encode, fields_of, line_of
from bikeshare.errors import DataError
from bikeshare.ports import PredictionRow

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = tuple(OBSERVATION)
_ON_GRID = ("timestamp", *WEATHER_NUMBERS, "weather", "is_holiday", TARGET)
_FIELDS = PredictionRow._fields
_TIMES = {"timestamp", "predicted_at"}
_TIME_PLACES = [place for place, name in enumerate(_FIELDS) if name in _TIMES]
_ONCE = "(request_id, position) DO NOTHING"
_FLAGS = {"is_holiday", "degraded"}
_LABELLED = ("timestamp", "demand", "prediction", "lower_80", "upper_80", "lower_95", "upper_95", "model_version",
             "degraded", "n")


class FrameRows:
    """The part of `Records` that speaks in frames."""

    _db: Database

    def upsert_observations(self, frame: pd.DataFrame) -> int:
        """Insert or replace observations by timestamp; DataError when a value is missing or a row repeats."""
        return self._write_observations(frame, ())

    def replace_observations(self, frame: pd.DataFrame, days: Sequence[date]) -> int:
        """Let these days hold exactly the rows of the frame; DataError also for a row of another day."""
        return self._write_observations(frame, days)

    def _write_observations(self, frame: pd.DataFrame, emptied: Sequence[date]) -> int:
        from bikeshare.core.observations import conform

        typed = conform(frame)
        _refuse_holes(typed)
        strangers = typed["timestamp"][~typed["timestamp"].dt.date.isin(emptied)]
        if emptied and len(strangers):
            raise DataError(f"{strangers.iloc[0]} is of none of the days that are replaced: write each day's own hours")
        columns = [_texts(typed["timestamp"], self._db.is_sqlite)]
        for name in COLUMNS[1:]:
            values = typed[name].astype(object).where(typed[name].notna(), None)
            columns.append(values.tolist())
        rows = list(zip(*columns, strict=True))
        updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])

        def write(connection: Connection) -> None:
            for day in emptied:
                start = datetime.combine(day, time())
                connection.execute(delete(observations).where(
                    observations.c.timestamp >= start, observations.c.timestamp < start + timedelta(days=1)
                ))
            if rows:
                self._db.bulk_insert(
                    connection, observations, COLUMNS, rows, f"(timestamp) DO UPDATE SET {updates}"
                )

        if rows or emptied:
            self._db.write(write)
        return len(rows)

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        """Observations with start <= timestamp < end, ordered, contract columns and dtypes."""
        from bikeshare.core.observations import conform

        return conform(_frame(COLUMNS, self._observed(COLUMNS, start, end)))

    def observed(self, start: datetime, end: datetime) -> HourlyGrid:
        """The same hours on the hourly grid, without a frame: what a serving process reads."""
        return grid_of(_columns(_ON_GRID, self._observed(_ON_GRID, start, end)))

    def _observed(self, names: Sequence[str], start: datetime | None, end: datetime | None) -> Sequence[Any]:
        query = self._select(observations.c[name] for name in names).order_by(observations.c.timestamp)
        if start is not None:
            query = query.where(observations.c.timestamp >= start)
        if end is not None:
            query = query.where(observations.c.timestamp < end)
        return self._db.read(lambda connection: connection.execute(query).fetchall())

    def latest_observation(self) -> datetime | None:
        """Timestamp of the newest observation."""
        query = select(func.max(observations.c.timestamp))
        return self._db.read(lambda connection: connection.execute(query).scalar())

    def insert_predictions(self, rows: Sequence[PredictionRow]) -> int:
        """Insert predictions, ignoring ones already stored; return how many were new."""
        if not self._db.is_sqlite:
            return self.insert_prediction_lines([encode("".join(line_of(*row) for row in rows))] if rows else [])
        return self._insert_rows(rows)

    def insert_prediction_lines(self, lines: Sequence[bytes]) -> int:
        """Insert predictions written by `core.prediction_lines`, whole lines in each element; return the new ones."""
        if self._db.is_sqlite:
            try:
                return self._insert_rows([fields_of(line) for part in lines for line in part.splitlines()])
            except ValueError as error:
                raise DataError(f"not a prediction: {error}") from error
        if not lines:
            return 0
        return self._db.write(lambda connection: self._db.copy_lines(
            connection, predictions, _FIELDS, lines, _ONCE
        ))

    def _insert_rows(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Into SQLite, times as the text that SQLAlchemy keeps."""
        if not rows:
            return 0
        values = [_with_text_times(row) for row in rows]
        return self._db.write(lambda connection: self._db.bulk_insert(connection, predictions, _FIELDS, values, _ONCE))

    def iter_predictions(
        self, start: datetime, end: datetime, *, by: Literal["timestamp", "predicted_at"] = "timestamp",
        batch_rows: int = 65_536, columns: Sequence[str] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Stream predictions with start <= `by` < end as frames of at most `batch_rows` rows."""
        names = tuple(columns) if columns is not None else _FIELDS
        unknown = [name for name in names if name not in _FIELDS]
        if unknown:
            raise DataError(f"predictions have no column {unknown[0]!r}: choose from {list(_FIELDS)}")
        moment = predictions.c[by]
        query = self._select(predictions.c[name] for name in names).where(moment >= start, moment < end)
        with self._db.stream() as connection:
            result = connection.execution_options(stream_results=True, yield_per=batch_rows).execute(query)
            for rows in result.partitions(batch_rows):
                yield _frame(names, rows)

    def labelled(self, start: datetime, end: datetime, *, model_version: str | None = None) -> pd.DataFrame:
        """Truth beside the prediction that counts of each hour with start <= timestamp < end, ordered by hour."""
        p, o = predictions.c, observations.c
        over = func.datetime(p.timestamp, "+1 hour") if self._db.is_sqlite else p.timestamp + timedelta(hours=1)
        served = select(
            p.timestamp, p.demand.label("prediction"), p.lower_80, p.upper_80, p.lower_95, p.upper_95,
            p.model_version, p.degraded,
            func.count().over(partition_by=p.timestamp).label("n"),
            func.row_number().over(
                partition_by=p.timestamp,
                order_by=(p.predicted_at >= over, p.predicted_at.desc(), p.request_id.desc(), p.position.desc()),
            ).label("place"),
        ).where(p.timestamp >= start, p.timestamp < end)
        if model_version is not None:
            served = served.where(p.model_version == model_version)
        last = served.subquery()
        names = [last.c[name] if name in last.c else o[name] for name in _LABELLED]
        query = self._select(names).select_from(
            last.join(observations, and_(o.timestamp == last.c.timestamp, last.c.place == 1))
        ).order_by(last.c.timestamp)
        frame = _frame(_LABELLED, self._db.read(lambda connection: connection.execute(query).fetchall()))
        return frame.astype({"demand": "int64", "n": "int64"})

    def delete_predictions_before(self, moment: datetime) -> int:
        """Retention: remove predictions made before `moment`, return how many."""
        query = delete(predictions).where(predictions.c.predicted_at < moment)

        def work(connection: Connection) -> int:
            return int(connection.execute(query).rowcount)

        return self._db.write(work)

    def _select(self, columns: Any) -> Select[Any]:
        """SELECT with times left as SQLite's text: numpy parses a column of them faster than Python each one."""
        if not self._db.is_sqlite:
            return select(*columns)
        return select(*(type_coerce(c, String).label(c.name) if c.name in _TIMES else c for c in columns))


def _frame(names: Sequence[str], rows: Sequence[Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(_columns(names, rows))


def _columns(names: Sequence[str], rows: Sequence[Any]) -> dict[str, npt.NDArray[Any]]:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    data: dict[str, npt.NDArray[Any]] = {}
    for name, values in zip(names, columns, strict=True):
        if name in _TIMES:
            data[name] = np.array(values, dtype="datetime64[us]").astype("datetime64[ns]")
        elif name in _FLAGS:
            data[name] = np.array(values, dtype=bool)
        elif name in {"weather", "model_version", "request_id", "features_hash", "source"}:
            data[name] = np.array(values, dtype=object)
        elif name == "position":
            data[name] = np.array(values, dtype="int64")
        else:
            data[name] = np.array(values, dtype="float64")
    return data


def _refuse_holes(frame: pd.DataFrame) -> None:
    for name in COLUMNS:
        if name not in ("casual", "registered") and frame[name].isna().any():
            row = int(np.flatnonzero(frame[name].isna())[0])
            raise DataError(f"column {name!r}, hour {frame['timestamp'].iloc[row]}: empty; drop the row or fill it")
    if frame["timestamp"].duplicated().any():
        hour = frame["timestamp"][frame["timestamp"].duplicated()].iloc[0]
        raise DataError(f"hour {hour} occurs twice: keep one row per hour")


def _texts(times: pd.Series, as_text: bool) -> list[Any]:
    import pandas as pd

    moments = pd.DatetimeIndex(times).to_pydatetime()
    return [_text(moment) for moment in moments] if as_text else list(moments)


def _with_text_times(row: tuple[Any, ...]) -> tuple[Any, ...]:
    changed = list(row)
    for place in _TIME_PLACES:
        changed[place] = _text(row[place])
    return tuple(changed)


def _text(moment: datetime) -> str:
    """How SQLAlchemy stores a DateTime in SQLite: with microseconds, so that text order is time order."""
    return moment.isoformat(sep=" ", timespec="microseconds")
