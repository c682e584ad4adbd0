"""End-to-end tests change a whole cluster: they run only when `-m` asks for them, on the cluster of KUBECONFIG."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take e2e tests out of every run whose marker expression does not name them."""
    if "e2e" in config.getoption("markexpr"):
        return
    chosen = [item for item in items if item.get_closest_marker("e2e") is None]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("e2e") is not None])
    items[:] = chosen
