"""The contract as a pandera schema: strict columns, types, physical ranges, no duplicates.

pandera is imported on first use: it costs about a second, and only ingesting needs it.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES
from bikeshare.core.observations import OPTIONAL, usable
from bikeshare.core.verdicts import Failure
from bikeshare.errors import DataError


@lru_cache(maxsize=1)
def observation_schema() -> Any:
    """The pandera schema of an observation frame, built from `core.contract` (a `DataFrameSchema`)."""
    import pandera.pandas as pandera

    columns = {}
    for name, column in OBSERVATION.items():
        checks = []
        dtype: Any = "float64"
        if column.kind == "timestamp":
            dtype = "datetime64[ns]"
        elif column.kind == "category":
            dtype = object
            checks.append(pandera.Check.isin(WEATHER_CLASSES))
        elif column.kind == "flag":
            dtype = bool
        else:
            low = -np.inf if column.minimum is None else column.minimum
            high = np.finfo("float64").max if column.maximum is None else column.maximum
            checks.append(pandera.Check.in_range(low, high))
        if name == "demand":
            dtype = "int64"
        columns[name] = pandera.Column(
            dtype, checks, nullable=name in OPTIONAL, unique=column.kind == "timestamp"
        )
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def check_schema(batch: pd.DataFrame) -> list[Failure]:
    """Every way in which a batch breaks the contract; rows with a missing value are judged elsewhere."""
    import pandera.errors

    try:
        frame = usable(batch)
    except DataError as error:
        return [Failure("schema", "", f"{error}.", len(batch))]
    try:
        observation_schema().validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return _failures(frame, errors.failure_cases)
    return []


def _failures(frame: pd.DataFrame, cases: pd.DataFrame) -> list[Failure]:
    found = []
    for (name, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        values = group["failure_case"]
        rows = pd.to_numeric(group["index"], errors="coerce").dropna().astype(int)
        hour = frame["timestamp"].iloc[int(rows.iloc[0])] if len(rows) else ""
        column = OBSERVATION.get(str(name))
        if check == "field_uniqueness":
            found.append(Failure(
                "duplicates", str(name), f"{values.nunique()} hours occur more than once, first {values.iloc[0]}; "
                "keep one row per hour.", int(values.nunique()), str(values.iloc[0]), "unique",
            ))
            continue
        if column is not None and column.kind == "category":
            allowed = ", ".join(WEATHER_CLASSES)
        elif column is not None and column.minimum is not None:
            top = "any" if column.maximum is None else f"{column.maximum:g}"
            allowed = f"{column.minimum:g} to {top} {column.unit}"
        else:
            allowed = str(check)
        found.append(Failure(
            "schema", str(name),
            f"{name} is {values.iloc[0]!r} in {len(group)} hours, first {hour}; allowed: {allowed}.",
            len(group), str(values.iloc[0]), allowed,
        ))
    return found
