"""What can be said of the images without building them: the lists agree, nothing is fetched that no lock names."""

import re
from pathlib import Path

from tests.images.conftest import IMAGES
from tests.images.test_images import LIMITS_MB
from tests.unit.test_repository import pins

BASE = "ARG BASE_IMAGE=python:3.11-slim-bookworm"


def dockerfiles(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in (root / "Dockerfile", root / "services" / "mlflow" / "Dockerfile")}


def test_base_image_comes_first_and_no_frontend_image_is_pulled(root: Path) -> None:
    for name, text in dockerfiles(root).items():
        assert text.splitlines()[0] == BASE, name
        stages = set(re.findall(r" AS (\S+)", text))
        sources = re.findall(r"^FROM (\S+)", text, re.MULTILINE) + re.findall(r"--from=(\S+)", text)
        assert set(sources) <= stages | {"${BASE_IMAGE}"}, name


def test_every_list_of_images_is_the_same(root: Path) -> None:
    script = (root / "hack" / "build-images.sh").read_text()
    targets = re.findall(r"^FROM runtime AS (\S+)", (root / "Dockerfile").read_text(), re.MULTILINE)

    assert set(targets) | {"mlflow"} == set(IMAGES)
    assert re.findall(r"set -- (.+)", script) == [" ".join(IMAGES)]
    assert re.findall(r"^    (.+)\) ;;", script, re.MULTILINE) == [" | ".join(IMAGES)]
    assert set(LIMITS_MB) == set(IMAGES)
    documented = re.findall(r"^\| `(\w+)` \|", (root / "docs" / "images.md").read_text(), re.MULTILINE)
    assert documented == list(IMAGES)


def test_every_image_installs_its_lock_and_no_other_file(root: Path) -> None:
    text = "".join(dockerfiles(root).values())
    copied = re.findall(r"COPY requirements/(\w+)\.txt", text)

    assert set(copied) == {*IMAGES, "dev"}  # the build backend's pin stands in the lock of development
    installs = re.findall(r"pip install .+", text + (root / "hack" / "image-site.sh").read_text())
    assert len(installs) == 2 + (len(IMAGES) - 1) + 1  # tools of both files, the wheel in each of ours, the locks
    assert [line for line in installs if not re.search("--require-hashes|--no-index", line)] == []
    assert [line for line in installs if "--no-deps" not in line] == []


def test_mlflow_lock_pins_what_the_tests_run(root: Path) -> None:
    tested, installed = pins(root / "requirements" / "dev.txt"), pins(root / "requirements" / "mlflow.txt")
    shared = tested.keys() & installed.keys()

    assert {"mlflow", "boto3", "sqlalchemy"} <= shared
    assert {name: (tested[name], installed[name]) for name in shared if tested[name] != installed[name]} == {}


def test_only_what_a_dockerfile_copies_is_sent_to_the_builder(root: Path) -> None:
    text = "".join(dockerfiles(root).values())
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
              for word in line.removeprefix("--chmod=755 ").split()[:-1]}
    kept = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {"requirements" if word.startswith("requirements/") else word for word in copied} == kept
