"""Reads a Prometheus text page, as a scraper would."""

from bikeshare.core.health import Samples
from bikeshare.errors import DataError


def read_exposition(text: str) -> Samples:
    """Samples of a metrics page by (name, sorted labels).

    Raises:
        DataError: the text is not in Prometheus' format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for family in text_string_to_metric_families(text) for sample in family.samples
        }
    except ValueError as error:
        raise DataError(f"the metrics page cannot be read: {error}") from error
