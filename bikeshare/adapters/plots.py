"""The three pictures of a training run, drawn without a display. The only file that imports `matplotlib`."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

INK, MUTED, ACCENT, SOFT = "#1f2933", "#7b8794", "#c2410c", "#9db8c9"


def draw_plots(forecast: pd.DataFrame, importance: pd.DataFrame, directory: Path) -> Path:
    """Write predicted_vs_actual.png, residuals_by_hour.png and importance.png into `directory`.

    Args:
        forecast: Columns timestamp, demand, prediction, lower_80, upper_80 of rows the recipe never saw (bikes/h).
        importance: Columns feature, importance, forest.
        directory: Created if absent.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _predicted_vs_actual(forecast, directory / "predicted_vs_actual.png")
    _residuals_by_hour(forecast, directory / "residuals_by_hour.png")
    _importance(importance, directory / "importance.png")
    return directory


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(MUTED)
        axis.tick_params(colors=MUTED, labelsize=8)
        axis.title.set_color(INK)
        axis.xaxis.label.set_color(INK)
        axis.yaxis.label.set_color(INK)
    return figure, axes


def _predicted_vs_actual(forecast: pd.DataFrame, path: Path) -> None:
    figure, (cloud, line) = _canvas(11, 4.2, columns=2)
    top = float(max(forecast["demand"].max(), forecast["prediction"].max(), 1.0)) * 1.03
    cloud.plot([0, top], [0, top], color=MUTED, linewidth=1)
    cloud.scatter(forecast["demand"], forecast["prediction"], s=7, color=ACCENT, alpha=0.35, linewidths=0)
    cloud.set(xlim=(0, top), ylim=(0, top), xlabel="actual, bikes/h", ylabel="predicted, bikes/h", aspect="equal")
    cloud.set_title("Each hour the recipe never saw", loc="left", fontsize=10)
    newest = forecast.sort_values("timestamp").tail(168)
    line.fill_between(newest["timestamp"], newest["lower_80"], newest["upper_80"], color=SOFT, alpha=0.5, linewidth=0,
                      label="80 % interval")
    line.plot(newest["timestamp"], newest["prediction"], color=ACCENT, linewidth=1.3, label="predicted")
    line.plot(newest["timestamp"], newest["demand"], color=INK, linewidth=1.0, label="actual")
    line.set_ylabel("bikes/h")
    line.set_ylim(bottom=0)
    line.set_title("The newest week", loc="left", fontsize=10)
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    line.xaxis.set_major_locator(locator)
    line.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    line.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    figure.savefig(path)


def _residuals_by_hour(forecast: pd.DataFrame, path: Path) -> None:
    figure, (axis,) = _canvas(8, 3.8)
    residual = (forecast["prediction"] - forecast["demand"]).groupby(forecast["timestamp"].dt.hour)
    hours = np.arange(24)
    low, middle, high = (residual.quantile(share).reindex(hours).to_numpy() for share in (0.1, 0.5, 0.9))
    axis.axhline(0, color=MUTED, linewidth=1)
    axis.bar(hours, high - low, bottom=low, width=0.65, color=SOFT, label="80 % of the hours")
    axis.scatter(hours, middle, color=ACCENT, s=22, zorder=3, label="median")
    axis.set(xlabel="hour of the day", ylabel="predicted minus actual, bikes/h", xticks=hours[::2])
    axis.set_title("Residuals by hour", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def _importance(importance: pd.DataFrame, path: Path, count: int = 15) -> None:
    figure, (axis,) = _canvas(8, 4.8)
    table = importance.pivot_table(index="feature", columns="forest", values="importance", aggfunc="sum").fillna(0.0)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index[:count][::-1]]
    place = np.arange(len(table))
    height = 0.8 / max(1, table.shape[1])
    for position, forest in enumerate(table.columns):
        axis.barh(place + (position - (table.shape[1] - 1) / 2) * height, table[forest], height=height,
                  color=(ACCENT, SOFT, INK)[position % 3], label=str(forest))
    axis.set(yticks=place, yticklabels=list(table.index), xlabel="share of the forest's variance reduction")
    axis.set_title("What the forests use", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path)
