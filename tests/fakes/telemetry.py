"""Telemetry in memory that accepts only what the table of metrics names."""

from bikeshare.adapters.telemetry import METRICS


class MemoryTelemetry:
    """`bikeshare.ports.Telemetry` in dicts keyed by (name, sorted labels)."""

    def __init__(self) -> None:
        self.gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.flushed = 0

    def set(self, name: str, value: float, **labels: str) -> None:
        self.gauges[self._key(name, "gauge", labels)] = float(value)

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        key = self._key(name, "counter", labels)
        self.counters[key] = self.counters.get(key, 0.0) + float(value)

    def flush(self) -> None:
        self.flushed += 1

    def value(self, name: str, **labels: str) -> float | None:
        """A gauge or counter, None when it was never touched."""
        key = (name, tuple(sorted(labels.items())))
        return self.gauges.get(key, self.counters.get(key))

    @staticmethod
    def _key(name: str, kind: str, labels: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        metric = METRICS[name]
        if metric.kind != kind or set(labels) != set(metric.labels):
            raise KeyError(f"{name} is a {metric.kind} with labels {metric.labels}")
        return name, tuple(sorted((label, str(value)) for label, value in labels.items()))
