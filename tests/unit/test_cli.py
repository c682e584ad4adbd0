"""The command line starts light, names its topics, and turns our errors into exit codes."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bikeshare import cli
from bikeshare.commands import checkout, room
from bikeshare.errors import ConfigurationError, DataError, Unavailable


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bikeshare", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_starting_the_cli_imports_nothing_heavy() -> None:
    heavy = [
        "pandas",
        "numpy",
        "sklearn",
        "mlflow",
        "evidently",
        "kfp",
        "bentoml",
        "sqlalchemy",
        "boto3",
        "onnxruntime",
        "pandera",
    ]
    code = f"import sys, bikeshare.cli; print([m for m in {heavy!r} if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize("topic", list(cli.TOPICS))
def test_every_topic_prints_its_help_without_heavy_imports(topic: str) -> None:
    code = (
        "import sys\nfrom bikeshare import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('HEAVY', [m for m in ('pandas', 'sklearn', 'mlflow', 'evidently', 'kfp') if m in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code, topic, "--help"], capture_output=True, text=True, check=False)

    assert seen.returncode == 0, seen.stderr
    assert "Usage" in seen.stdout
    assert seen.stdout.strip().endswith("HEAVY []")


PORTS = ("predictor_port", "supervisor_port", "dashboard_port")


@pytest.mark.parametrize("taken", PORTS)
def test_the_demo_refuses_a_taken_port_before_it_empties_its_home(
    taken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kept.txt").write_text("of an earlier play")
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as others:
        for name in PORTS:
            free = listening if name == taken else others.enter_context(socket.create_server(("127.0.0.1", 0)))
            monkeypatch.setenv(f"BIKESHARE_{name.upper()}", str(free.getsockname()[1]))
        others.close()
        seen = run("demo", "--keep", "--home", str(tmp_path))

    assert seen.returncode == 2
    assert f"BIKESHARE_{taken.upper()}=" in seen.stderr
    assert (tmp_path / "kept.txt").exists()


def test_unknown_command_exits_2_and_names_it() -> None:
    seen = run("retrain-now")

    assert seen.returncode == 2
    assert "retrain-now" in seen.stderr


@pytest.mark.parametrize(("error", "code"), [(DataError("bad rows"), 2), (Unavailable("database away"), 1)])
def test_errors_become_one_line_and_their_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "get_command", lambda _: type("Failing", (), {"main": staticmethod(fail)}))
    with pytest.raises(SystemExit) as end:
        cli.main([])

    assert end.value.code == code
    assert capsys.readouterr().err == f"bikeshare: {error}\n"


def test_a_folder_services_of_somebody_else_is_not_taken_for_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    for name in ("services", "pipelines"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)

    assert checkout() == root
    assert room("services.monitor.check").__file__ == str(root / "services" / "monitor" / "check.py")
    with pytest.raises(ConfigurationError, match=r"services\.nobody.*run from a checkout"):
        room("services.nobody")
