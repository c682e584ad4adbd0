"""Which evidence a checkout really holds: its test functions, read without importing them, and its files."""

import ast
from collections.abc import Collection
from pathlib import Path

from bikeshare.core.score import judge
from bikeshare.core.score_items import ITEMS


def find_evidence(root: Path, wanted: Collection[str]) -> frozenset[str]:
    """The names in `wanted` that exist.

    Args:
        root: The checkout.
        wanted: Test ids (`file::function`) and files, relative to it. A test that is always skipped or expected to
            fail proves nothing and does not count; nor does an empty file.
    """
    files = {name.partition("::")[0] for name in wanted}
    present = {name for name in files if (root / name).is_file() and (root / name).stat().st_size}
    tested = {name: _tests(root / name) for name in present if name.endswith(".py")}
    found = set()
    for name in wanted:
        file, _, function = name.partition("::")
        if file in present and (not function or function in tested.get(file, ())):
            found.add(name)
    return frozenset(found)


def points_of(root: Path) -> dict[str, float]:
    """Section of the ML Test Score -> points; empty when the folder has no tests, as in an image."""
    if not (root / "tests").is_dir():
        return {}
    wanted = {name for item in ITEMS for name in item.evidence}
    return judge(ITEMS, find_evidence(root, wanted)).sections


def _tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    marks = [node.value for node in tree.body
             if isinstance(node, ast.Assign) and any(ast.unparse(to) == "pytestmark" for to in node.targets)]
    if any(_never_counts(mark) for mark in marks):
        return set()
    return {
        node.name for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        and not any(_never_counts(mark) for mark in node.decorator_list)
    }


def _never_counts(mark: ast.expr) -> bool:
    """Whether a mark is `skip` or `xfail`, alone or in a list."""
    return any(isinstance(node, ast.Attribute) and node.attr in ("skip", "xfail") for node in ast.walk(mark))
