"""The ML Test Score counts evidence, not claims: what is deleted, skipped or empty is worth nothing."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bikeshare.commands.score import app
from bikeshare.core.score import Item, judge
from bikeshare.core.score_items import ITEMS
from bikeshare.steps.claims import find_evidence, points_of

WANTED = sorted({name for item in ITEMS for name in item.evidence})


@pytest.fixture
def copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with nothing but the evidence, in which the command runs."""
    for name in sorted({name.partition("::")[0] for name in WANTED}):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "services" / "predictor").mkdir(parents=True)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "local.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_there_are_seven_questions_in_each_of_four_sections() -> None:
    assert Counter(item.section for item in ITEMS) == dict.fromkeys(
        ("data", "model", "infrastructure", "monitoring"), 7
    )
    assert len({item.key for item in ITEMS}) == 28
    assert {item.points for item in ITEMS} <= {0, 0.5, 1}


def test_what_is_short_of_a_full_point_says_why() -> None:
    assert [item.key for item in ITEMS if (item.points < 1) != bool(item.note)] == []


def test_all_evidence_exists_and_every_section_is_exceptional(root: Path) -> None:
    found = find_evidence(root, WANTED)
    score = judge(ITEMS, found)

    assert sorted(set(WANTED) - found) == []
    assert {section: points for section, points in score.sections.items() if points < 5.5} == {}
    assert score.band == "exceptional"


@pytest.mark.parametrize("lost", WANTED)
def test_losing_any_piece_of_evidence_lowers_the_score(lost: str) -> None:
    def total(found: set[str]) -> float:
        return sum(judge(ITEMS, found).sections.values())

    assert total(set(WANTED) - {lost}) <= total(set(WANTED)) - 0.5


def test_deleting_a_test_lowers_what_the_command_prints(copy: Path) -> None:
    before = json.loads(run("--json").output)
    path = copy / "tests" / "unit" / "test_features.py"
    source = path.read_text()
    path.write_text(re.sub(r"def test_features_never_read_demand_after_t_minus_24\b", "def helper", source))
    after = json.loads(run("--json").output)
    item = next(item for item in after["items"] if item["key"] == "data-4")

    assert (before["sections"]["data"], after["sections"]["data"]) == (6, 5)
    assert after["final"] == 5 < before["final"]
    assert item["points"] == 0
    assert item["missing"] == ["tests/unit/test_features.py::test_features_never_read_demand_after_t_minus_24"]
    assert "missing: tests/unit/test_features.py::test_features_never" in run().output


@pytest.mark.parametrize("mark", [
    "@pytest.mark.skip\n", '@pytest.mark.skip(reason="later")\n', "@pytest.mark.xfail\n",
    "@pytest.mark.slow\n@mark.skip\n",
])
def test_a_test_that_never_fails_proves_nothing(tmp_path: Path, mark: str) -> None:
    (tmp_path / "test_x.py").write_text(f"{mark}def test_a(): ...\n\n@pytest.mark.slow\ndef test_b(): ...\n")

    assert find_evidence(tmp_path, ["test_x.py::test_a", "test_x.py::test_b"]) == {"test_x.py::test_b"}


def test_a_skipped_module_an_empty_file_and_a_nested_function_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "test_skipped.py").write_text("pytestmark = [pytest.mark.skip]\ndef test_a(): ...\n")
    (tmp_path / "test_nested.py").write_text("def f():\n    def test_a(): ...\n")
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "full.md").write_text("words")
    wanted = ["test_skipped.py::test_a", "test_nested.py::test_a", "empty.md", "full.md", "gone.md", "gone.py::test_a"]

    assert find_evidence(tmp_path, wanted) == {"full.md"}


def test_a_claim_without_evidence_is_worth_nothing() -> None:
    score = judge([Item("data-1", "?", 1), Item("model-1", "?", 1, ("a",)), Item("model-2", "?", 0.5, ("b",))], {"a"})

    assert [(judged.points, judged.reason) for judged in score.items] == [
        (0, "a claim without evidence"), (1, "automated"), (0, "1 of 1 pieces of evidence do not exist"),
    ]
    assert score.sections == {"data": 0, "model": 1}


@pytest.mark.parametrize(("points", "words"), [
    ([0.0], "a research toy"), ([0.5], "serious holes"), ([1] * 2, "a first pass"), ([1] * 3, "reasonable"),
    ([1] * 5, "strong, fit for critical use"), ([*[1] * 5, 0.5], "exceptional"),
])
def test_bands(points: list[float], words: str) -> None:
    items = [Item(f"data-{place}", "?", point, ("a",)) for place, point in enumerate(points)]

    assert judge(items, {"a"}).band == words


def test_the_weakest_section_decides_and_may_fail_the_command(copy: Path) -> None:
    good, bad = run("--fail-under", "5.5"), run("--fail-under", "5.6")

    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "ML Test Score 5.5, the weakest section's: exceptional." in good.output
    assert good.output.count(" of 7\n") == 4


def test_it_imports_nothing_heavy(root: Path) -> None:
    code = "import sys; from bikeshare.cli import main\ntry: main(['score'])\nexcept SystemExit: pass\n" \
           "sys.stderr.write(','.join(sorted({'pandas', 'numpy', 'sklearn', 'pytest'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert "ML Test Score" in done.stdout
    assert done.stderr == ""


def test_a_model_card_tells_the_points_of_a_checkout_and_nothing_in_an_image(root: Path, tmp_path: Path) -> None:
    seen = CliRunner().invoke(app, ["--json"])

    assert points_of(root) == json.loads(seen.stdout)["sections"]
    assert points_of(tmp_path) == {}
