"""What every image must be: small, nobody's, without tools and without secrets."""

import time
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.images.conftest import IMAGES, STARTS
from tests.images.containers import Docker

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]

LIMITS_MB = {"pipeline": 1150, "predictor": 450, "monitor": 1250, "dashboard": 1050, "mlflow": 900}
MARK = b"bikeshare build secret"
"""hack/build-images.sh writes it into every file that a build sees as a secret."""


@pytest.mark.parametrize("image", IMAGES)
def test_image_says_what_it_is_and_runs_as_nobody(
    docker: Docker, images: dict[str, str], image: str, root: Path
) -> None:
    config = docker.inspect(images[image])["Config"]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]

    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.version"] == project["version"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == project["license"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"bikeshare-{image}"


@pytest.mark.parametrize("image", IMAGES)
def test_image_is_small_enough(docker: Docker, images: dict[str, str], image: str) -> None:
    assert docker.inspect(images[image])["Size"] / 1e6 <= LIMITS_MB[image]


@pytest.mark.parametrize("image", IMAGES)
def test_image_has_no_installer_compiler_cache_or_set_user_id_program(
    docker: Docker, images: dict[str, str], image: str
) -> None:
    script = """
    for tool in pip pip3 gcc cc ld make git; do command -v $tool; done
    python -c 'import pip' 2>/dev/null && echo the module pip
    find / -xdev -type f '(' -name '*.whl' -o -name pip.conf -o -path '*/.cache/*' -o -path '/var/lib/apt/lists/*_*' \
        -o -name '*.deb' -o -perm /6000 ')' -print
    true
    """

    found = docker.run(images[image], "sh", "-c", script, options=("--user", "0:0", "--cap-add", "DAC_READ_SEARCH"))

    assert found == ""


@pytest.mark.parametrize("image", IMAGES)
def test_no_build_secret_and_no_package_index_is_left_in_any_layer(
    docker: Docker, images: dict[str, str], image: str
) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", images[image])
    assert "RUN" in history
    assert [word for word in ("https://", "http://", "PIP_", "PASSWORD", "SECRET_ACCESS") if word in history] == []

    with docker.image_bytes(images[image]) as saved:
        assert saved.stdout is not None
        rest, seen = b"", 0
        while chunk := saved.stdout.read(1 << 22):
            assert MARK not in rest + chunk
            rest, seen = chunk[-len(MARK):], seen + len(chunk)
    assert seen > 100e6


@pytest.mark.parametrize("image", [name for name in IMAGES if name != "mlflow"])
def test_command_line_works_without_a_writable_disk(docker: Docker, images: dict[str, str], image: str) -> None:
    began = time.monotonic()
    assert "pipeline" in docker.run(images[image], "bikeshare", "--help")
    if image == "pipeline":
        STARTS[image] = f"{time.monotonic() - began:.1f} s for `bikeshare --help`"


def test_dashboard_answers(docker: Docker, images: dict[str, str]) -> None:
    name = docker.start(images["dashboard"], name="bikeshare-test-dashboard")
    url = f"http://{docker.address(name)}:8501"

    def healthy() -> bool:
        with urlopen(f"{url}/_stcore/health", timeout=5) as answer:
            return bool(answer.read() == b"ok")

    STARTS["dashboard"] = f"{docker.wait(name, 'a healthy dashboard', healthy):.1f} s to its health address"

    with urlopen(url, timeout=10) as page:
        assert b"<html" in page.read()
    docker.stop(name)
