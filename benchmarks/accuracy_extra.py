"""Contenders, noise, probes and retraining policies of the accuracy benchmark."""

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.adapters.artifacts.onnx_export import assert_parity, export_onnx
from bikeshare.core.evaluation import coverage, score
from bikeshare.core.features import N_STATELESS
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.grid import HourlyGrid, grid_of, hour_numbers, weather_codes
from bikeshare.core.level import centred_ratio
from bikeshare.core.splits import Fold, kaggle_split
from bikeshare.core.training import TrainedModel, TrainingConfig, grid_matrix, train


def raw_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The 12 columns of the usual tutorial."""
    when = frame["timestamp"].dt
    weekday = (when.dayofweek + 1) % 7
    return pd.DataFrame({
        "season": (when.month % 12) // 3 + 1, "yr": when.year - 2011, "mnth": when.month, "hr": when.hour,
        "holiday": frame["is_holiday"].astype(int), "weekday": weekday,
        "workingday": ((when.dayofweek < 5) & ~frame["is_holiday"]).astype(int),
        "weathersit": weather_codes(frame["weather"]), "temp": frame["temp_c"], "atemp": frame["feels_like_c"],
        "hum": frame["humidity_pct"], "windspeed": frame["windspeed_kmh"],
    })


def beginner_forest(rows: pd.DataFrame, test: pd.DataFrame, config: TrainingConfig) -> np.ndarray:
    """Raw columns, scikit-learn defaults."""
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(n_estimators=100 if config.trees >= 50 else config.trees, random_state=0, n_jobs=2)
    model.fit(raw_columns(rows), rows["demand"])
    return np.asarray(model.predict(raw_columns(test)))


BOOSTING = {
    "objective": "regression", "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 30, "feature_fraction": 0.6,
    "bagging_fraction": 0.8, "bagging_freq": 1, "verbosity": -1, "num_threads": 2, "seed": 0,
}


def lightgbm(observations: pd.DataFrame, trained: TrainedModel, fold: Fold) -> np.ndarray:
    """LightGBM on our features and target √(demand / base), with the same daily level: the same information."""
    import lightgbm as lgb

    grid, place, matrix, base = _labelled(observations, fold)
    known = ~np.isnan(base)
    target = np.sqrt(grid.demand[place] / base)
    model = lgb.train(BOOSTING, lgb.Dataset(matrix[known], target[known]), _rounds(trained))

    def shapes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return trained.shapes.stateless.predict(rows[:, :N_STATELESS]), np.asarray(model.predict(rows))

    forecaster = Forecaster(replace(trained.model, shapes=shapes))
    return forecaster.backtest_predict(observations, fold.start, fold.end)["history"].to_numpy()


def lightgbm_pair(observations: pd.DataFrame, trained: TrainedModel, fold: Fold) -> np.ndarray:
    """Two LightGBM models in the place of our two forests, growth taken out in a first pass, averaged as ours are."""
    import lightgbm as lgb

    grid, place, matrix, base = _labelled(observations, fold)
    rounds = _rounds(trained)

    def fit(rows: np.ndarray, usual: np.ndarray, hours: np.ndarray) -> Any:
        target = np.sqrt(grid.demand[hours] / usual)
        # Whole weeks are left out in turn: what a forest has out of bag.
        block, first = (hours // 168) % 5, np.empty(hours.size)
        for number in range(5):
            held = block == number
            part = lgb.train(BOOSTING, lgb.Dataset(rows[~held], target[~held]), rounds * 3 // 8)
            first[held] = part.predict(rows[held])
        answered = np.full(len(grid), np.nan)
        answered[hours] = usual * first**2
        growth = centred_ratio(np.where(np.isnan(answered), np.nan, grid.demand), answered)[hours]
        return lgb.train(BOOSTING, lgb.Dataset(rows, np.sqrt(grid.demand[hours] / (usual * growth))), rounds)

    known = ~np.isnan(base)
    stateless = fit(matrix[:, :N_STATELESS], np.ones(place.size), place)
    history = fit(matrix[known], base[known], place[known])

    def shapes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(stateless.predict(rows[:, :N_STATELESS])), np.asarray(history.predict(rows))

    forecaster = Forecaster(replace(trained.model, shapes=shapes))
    return forecaster.backtest_predict(observations, fold.start, fold.end)["prediction"].to_numpy()


def _labelled(observations: pd.DataFrame, fold: Fold) -> tuple[HourlyGrid, np.ndarray, np.ndarray, np.ndarray]:
    grid = grid_of(fold.train_rows(observations))
    place = np.flatnonzero(~np.isnan(grid.demand) & ~np.isnan(grid.weather).any(axis=1))
    matrix, base = grid_matrix(grid, place)
    return grid, place, matrix, base


def _rounds(trained: TrainedModel) -> int:
    return 400 if trained.training_config.trees >= 50 else 60


def other_seeds(
    observations: pd.DataFrame, config: TrainingConfig, folds: Sequence[Fold], seeds: Sequence[int]
) -> list[dict[str, float]]:
    """Pooled scores of the served mean with other seeds, worst monthly coverage of the 80 % interval included."""
    found = []
    for seed in seeds:
        parts = []
        for fold in folds:
            trained = train(fold.train_rows(observations), replace(config, seed=seed))
            parts.append(Forecaster.of(trained).backtest_predict(observations, fold.start, fold.end))
        frame = pd.concat(parts, ignore_index=True)
        worst = min(coverage(part["demand"], part["lower_80"], part["upper_80"]) for part in parts)
        found.append({"seed": seed, **score(frame["demand"], frame["prediction"]).to_dict(), "worst_cover_80": worst})
    return found


def noisy_weather(observations: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Weather as a day-ahead forecast would have it; an assumption, not a measured forecast.

    Temperature sd 1.5 °C (half of the variance shared within a day), humidity sd 8 points, wind sd 4 km/h, class off
    by one in 12 % of hours.
    """
    random = np.random.default_rng(seed)
    size = len(observations)
    noisy = observations.copy()
    _, day = np.unique(hour_numbers(observations["timestamp"].to_numpy()) // 24, return_inverse=True)
    error = 1.5 * np.sqrt(0.5) * (random.standard_normal(day.max() + 1)[day] + random.standard_normal(size))
    noisy["temp_c"] += error
    noisy["feels_like_c"] += error
    noisy["humidity_pct"] = (noisy["humidity_pct"] + 8 * random.standard_normal(size)).clip(0, 100)
    noisy["windspeed_kmh"] = (noisy["windspeed_kmh"] + 4 * random.standard_normal(size)).clip(0)
    codes = weather_codes(observations["weather"])
    off = np.where(random.random(size) < 0.12, random.choice([-1, 1], size), 0)
    names = np.array(["clear", "mist", "light_precip", "heavy_precip"])
    noisy["weather"] = names[np.clip(codes + off, 0, 2).astype(int)]
    return noisy


def onnx_parity(trained: TrainedModel, observations: pd.DataFrame, fold: Fold) -> float:
    """Largest relative difference between ONNX and scikit-learn on every test row, with and without history."""
    grid = grid_of(observations[observations["timestamp"] < fold.end])
    start = int(hour_numbers([fold.start])[0]) - grid.start
    place = np.flatnonzero(~np.isnan(grid.weather).any(axis=1))
    matrix, _ = grid_matrix(grid, place[place >= start])
    return assert_parity(trained, export_onnx(trained), matrix)


def kaggle_rmsle(observations: pd.DataFrame, config: TrainingConfig) -> float:
    """P2a: stateless features + year and season, log target, casual and registered heads; RMSLE."""
    from sklearn.ensemble import RandomForestRegressor

    rows, test = kaggle_split(observations)
    grid = grid_of(observations)
    hours = hour_numbers(observations["timestamp"].to_numpy()) - grid.start
    matrix = grid_matrix(grid, hours)[0][:, :N_STATELESS]
    matrix = np.delete(matrix, 12, axis=1)
    when = observations["timestamp"].dt
    matrix = np.column_stack((matrix, when.year - 2011, uci_season(when.month * 100 + when.day)))
    total = np.zeros(len(test))
    early = observations.index.isin(rows.index)
    for head in ("casual", "registered"):
        model = RandomForestRegressor(config.trees, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=2)
        model.fit(matrix[early], np.log1p(rows[head]))
        total += np.expm1(model.predict(matrix[~early]))
    return score(test["demand"], total).rmsle


def uci_season(month_and_day: pd.Series) -> np.ndarray:
    """Season code of the file from month × 100 + day: 1 from 21 Dec, 2 from 21 Mar, 3 from 21 Jun, 4 from 23 Sep."""
    return np.select(
        [(month_and_day <= 320) | (month_and_day >= 1221), month_and_day <= 620, month_and_day <= 922], [1, 2, 3], 4
    )


def compressed_bytes(folder: Path) -> int:
    """Size of the directory as one .tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, "artifact")
    return len(buffer.getvalue())


def changed_world(observations: pd.DataFrame, since: datetime) -> pd.DataFrame:
    """Labelled scenario on real history; weather and calendar stay real.

    From `since` on, the weekday morning peak halves and moves two hours later, and midday rises by half.
    """
    changed = observations.copy()
    new = (changed["timestamp"] >= since) & (changed["timestamp"].dt.dayofweek < 5)
    demand = changed.set_index("timestamp")["demand"]
    hour = changed["timestamp"].dt.hour
    earlier = demand.reindex(changed["timestamp"] - pd.Timedelta(hours=2)).to_numpy()
    moved = new & hour.between(7, 11) & ~np.isnan(earlier)
    changed.loc[moved, "demand"] = 0.5 * earlier[moved.to_numpy()]
    changed.loc[new & hour.between(12, 14), "demand"] *= 1.5
    changed["demand"] = changed["demand"].round()
    return changed


def adaptation(observations: pd.DataFrame, config: TrainingConfig) -> list[dict[str, Any]]:
    """WAPE of the week after: old champion, plain retrain and adapted retrain, 7 and 14 days into a changed world."""
    since = datetime(2012, 5, 7)
    world = changed_world(observations, since)
    old = train(world[world["timestamp"] < since], config)
    results = []
    for days in (7, 14):
        cut, end = since + timedelta(days=days), since + timedelta(days=days + 7)
        row: dict[str, Any] = {"labelled_days": days}
        for name, trained in (
            ("old", old),
            ("plain", train(world[world["timestamp"] < cut], config)),
            ("adapted", train(world[world["timestamp"] < cut], replace(config, adapt_since=since))),
        ):
            frame = Forecaster.of(trained).backtest_predict(world, cut, end)
            row[name] = score(frame["demand"], frame["prediction"]).wape
        results.append(row)
    return results


def retraining_policies(
    observations: pd.DataFrame, config: TrainingConfig, first: TrainedModel, monthly: pd.DataFrame,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """P4: never, monthly, weekly (20 trees) and drift-triggered over 2012, stateless frozen / online and mean."""
    year_end = datetime(2013, 1, 1)
    never = Forecaster.of(first).backtest_predict(observations, first.window[1], year_end)
    rows = [_policy("never", 0, never), _policy("monthly", 11, monthly.reset_index())]
    small = replace(config, trees=20, first_pass_trees=10)
    parts, cut = [], datetime(2012, 1, 1)
    while cut < year_end:
        end = min(cut + timedelta(days=7), year_end)
        parts.append(Forecaster.of(train(observations[observations["timestamp"] < cut], small))
                     .backtest_predict(observations, cut, end))
        cut = end
    tell("weekly retraining done")
    rows.append(_policy("weekly (20 trees)", len(parts) - 1, pd.concat(parts)))
    for answer in ("prediction", "frozen"):
        rows.append(_drift_triggered(observations, config, first, year_end, answer))
        tell(f"drift-triggered on {answer} done")
    return rows


def _drift_triggered(
    observations: pd.DataFrame, config: TrainingConfig, first: TrainedModel, year_end: datetime, answer: str
) -> dict[str, Any]:
    trained, start, parts = first, first.window[1], []
    retrains = 0
    reference = None
    while start < year_end:
        frame = Forecaster.of(trained).backtest_predict(observations, start, year_end)
        stop = year_end
        moment = start + timedelta(days=8)
        while moment < year_end:
            known = frame[(frame["timestamp"] >= moment - timedelta(days=8))
                          & (frame["timestamp"] < moment - timedelta(days=1))]
            wape = score(known["demand"], known[answer]).wape
            reference = wape if reference is None else reference
            ratio = float(np.log(known[answer].sum() / known["demand"].sum()))
            if abs(ratio) > 0.10 or wape > 1.25 * reference:
                stop = moment
                break
            moment += timedelta(days=1)
        parts.append(frame[frame["timestamp"] < stop])
        if stop < year_end:
            trained = train(observations[observations["timestamp"] < stop - timedelta(days=1)], config)
            retrains += 1
            gap = Forecaster.of(trained).model.window[1]
            start = max(stop, gap)
        else:
            start = stop
    return _policy(f"drift-triggered on the {'served mean' if answer == 'prediction' else 'frozen answer'}",
                   retrains, pd.concat(parts))


def _policy(name: str, retrains: int, frame: pd.DataFrame) -> dict[str, Any]:
    return {"policy": name, "retrains": retrains, **{
        column: score(frame["demand"], frame[column]).to_dict() for column in ("frozen", "stateless", "prediction")
    }}
