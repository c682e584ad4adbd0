"""Things that stand in two places agree, and nothing that must not be in the repository is."""

import ast
import gzip
import hashlib
import re
import subprocess
from pathlib import Path

import pytest

DATA_SHA256 = "e03de4ee4ef4dc376ac6e04bf829673c6269e8eba5c60fa121640fa2f829504f"


def tracked(root: Path) -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / line for line in listing.splitlines() if (root / line).is_file()]


def make_targets(root: Path) -> list[str]:
    text = (root / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE)


def test_the_history_is_the_published_file(root: Path) -> None:
    csv = gzip.decompress((root / "data" / "hour.csv.gz").read_bytes())

    assert hashlib.sha256(csv).hexdigest() == DATA_SHA256


def test_the_makefile_explains_itself_and_stays_small(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    assert phony is not None

    assert sorted(phony[1].split()) == sorted(make_targets(root))
    assert len(make_targets(root)) <= 20


def test_every_make_target_in_the_documents_exists(root: Path) -> None:
    targets = set(make_targets(root))
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
        named |= set(re.findall(r"^make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert named <= targets, f"{page.name} names {sorted(named - targets)}"


def test_ci_runs_the_test_command_of_the_readme(root: Path) -> None:
    assert "make test" in (root / "README.md").read_text(encoding="utf-8")
    assert "make test" in (root / ".ci" / "run").read_text(encoding="utf-8")


def test_relative_links_in_the_documents_resolve(root: Path) -> None:
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(root)} links to {target}"


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("image", ["pipeline", "predictor", "monitor", "dashboard"])
def test_every_image_installs_the_versions_that_were_tested(root: Path, image: str) -> None:
    tested = pins(root / "requirements" / "dev.txt")
    installed = pins(root / "requirements" / f"{image}.txt")

    assert installed
    assert {name: version for name, version in installed.items() if tested.get(name) != version} == {}


def test_locks_have_hashes_and_name_no_index(root: Path) -> None:
    for lock in sorted((root / "requirements").glob("*.txt")):
        text = lock.read_text(encoding="utf-8")
        assert text.count("--hash=sha256:") >= len(pins(lock))
        assert "http" not in re.sub(r"#.*|^[a-z0-9._-]*http[a-z0-9._-]*==.*", "", text, flags=re.MULTILINE)


def test_no_machine_path_or_package_index_is_named_anywhere(root: Path) -> None:
    forbidden = re.compile(r"(^|[^A-Za-z0-9_./-])/(work|farm)/[a-z]|\bpy(pi|thonhosted)\.[a-z]|" + "index" + "-url")
    for path in tracked(root):
        if path.suffix in {".gz", ".png"} or path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        text = text.replace("--no-emit-" + "index" + "-url", "")
        assert not forbidden.search(text), f"{path.relative_to(root)}: {forbidden.search(text)}"


def test_one_line_in_the_project_starts_a_run(root: Path) -> None:
    """README promises that `steps/request_run.py` is the only place that submits."""
    found = []
    for path in tracked(root):
        if path.suffix != ".py" or path.is_relative_to(root / "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(r"(\w+\.)*_?runs\.submit", ast.unparse(node.func)):
                found.append(str(path.relative_to(root)))

    assert found == ["bikeshare/steps/request_run.py"]


def test_only_settings_read_the_environment(root: Path) -> None:
    allowed = {"bikeshare/settings.py"}
    for path in (root / "bikeshare").rglob("*.py"):
        name = str(path.relative_to(root))
        if name in allowed or name.startswith(("bikeshare/simulation", "bikeshare/adapters")):
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"getenv|environ\.get|environ\[[^]]+\](?! = )", text), f"{name} reads the environment"
