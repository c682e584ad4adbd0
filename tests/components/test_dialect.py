"""Our pipeline speaks the dialect, and the dialect's rules catch what breaks it."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kfp import compiler, dsl

from tests.components.dialect import source_problems, spec_problems

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / "pipelines" / "compiled" / "training.yaml"
SOURCES = sorted([*(ROOT / "components").glob("*.py"), *(ROOT / "pipelines").glob("*.py")])

component = functools.partial(dsl.component, base_image="bikes:test", packages_to_install=[], install_kfp_package=False)


class Scored(NamedTuple):
    passed: bool
    names: list


@component
def score() -> NamedTuple("Scored", [("passed", bool), ("names", list)]):  # type: ignore[valid-type]
    return (True, ["a"])


@component
def single() -> bool:
    return True


@component
def word() -> str:
    return "x"


@component
def use(text: str = "x"):
    print(text)  # noqa: T201


@component
def make(data: dsl.Output[dsl.Dataset]):
    print(data.path)  # noqa: T201


@dsl.container_component
def contained():
    return dsl.ContainerSpec(image="alpine", command=["true"])


def compiled(pipeline: Callable[..., Any], tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "p.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return list(yaml.safe_load_all(path.read_text()))


def quiet(task: Any) -> Any:
    return task.set_caching_options(False)


def test_the_training_pipeline_obeys_the_dialect() -> None:
    assert spec_problems(list(yaml.safe_load_all(COMPILED.read_text()))) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_sources_obey_the_dialect(path: Path) -> None:
    assert source_problems(path.read_text()) == []


@pytest.mark.parametrize("image", ["", "registry.example/bikes:1f3a"])
def test_compiling_gives_the_committed_bytes_and_only_the_image_may_differ(image: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BIKESHARE_IMAGE"}
    if image:
        environment["BIKESHARE_IMAGE"] = image
    output = tmp_path / "again.yaml"
    subprocess.run([sys.executable, "-m", "pipelines", str(output)], cwd=ROOT, env=environment, check=True)
    committed = COMPILED.read_bytes()
    expected = committed.replace(b"bikeshare/pipeline:dev", image.encode()) if image else committed
    assert output.read_bytes() == expected, "run `python -m pipelines` and commit the result"
    assert (b"bikeshare/pipeline:dev" in output.read_bytes()) == (not image)


def test_every_task_asks_for_resources_and_only_training_is_repeated() -> None:
    spec = next(yaml.safe_load_all(COMPILED.read_text()))
    for name, executor in spec["deploymentSpec"]["executors"].items():
        resources = executor["container"]["resources"]
        assert resources["resourceCpuRequest"], name
        assert resources["resourceMemoryRequest"], name
    repeated = {
        name for part in [spec["root"], *spec["components"].values()] if "dag" in part
        for name, task in part["dag"]["tasks"].items() if "retryPolicy" in task
    }
    # A refused day, a lease that is taken, a gate's no: repeating those steps changes nothing.
    assert repeated == {"train"}


def test_cluster_variables_are_settings_or_well_known() -> None:
    from bikeshare.settings import Settings
    from components._runtime import CONFIG, SECRETS

    ours = {f"BIKESHARE_{name.upper()}" for name in Settings.model_fields}
    theirs = {
        "MLFLOW_TRACKING_URI", "SLACK_CHANNEL", "SLACK_API_URL", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN",
        "PUSHGATEWAY_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TZ",
    }
    assert set(CONFIG) | set(SECRETS) <= ours | theirs
    assert not set(CONFIG) & set(SECRETS)


def bare_if_on_named_output() -> Any:
    @dsl.pipeline(name="p")
    def p():
        scored = quiet(score())
        with dsl.If(scored.outputs["passed"] == True):  # noqa: E712
            quiet(use())

    return p


def if_else_on_named_output() -> Any:
    @dsl.pipeline(name="p")
    def p():
        scored = quiet(score())
        with dsl.If(scored.outputs["passed"] == True):  # noqa: E712
            quiet(use())
        with dsl.Else():
            quiet(use())

    return p


def bare_if_on_single_output() -> Any:
    @dsl.pipeline(name="p")
    def p():
        with dsl.If(quiet(single()).output == True):  # noqa: E712
            quiet(use())

    return p


def quote_in_literal() -> Any:
    @dsl.pipeline(name="p")
    def p():
        spoken = quiet(word())
        with dsl.If(spoken.output == "it's"):
            quiet(use())
        with dsl.Else():
            quiet(use())

    return p


def plain_literal() -> Any:
    @dsl.pipeline(name="p")
    def p():
        spoken = quiet(word())
        with dsl.If(spoken.output == "its"):
            quiet(use())
        with dsl.Else():
            quiet(use())

    return p


def one_of_artifacts() -> Any:
    @dsl.pipeline(name="p")
    def p() -> dsl.Dataset:
        with dsl.If(quiet(single()).output == True):  # noqa: E712
            first = quiet(make())
        with dsl.Else():
            second = quiet(make())
        return dsl.OneOf(first.outputs["data"], second.outputs["data"])

    return p


def loop_over_named_output() -> Any:
    @dsl.pipeline(name="p")
    def p():
        scored = quiet(score())
        with dsl.ParallelFor(scored.outputs["names"]) as name:
            quiet(use(text=name))

    return p


def loop_over_literal() -> Any:
    @dsl.pipeline(name="p")
    def p():
        with dsl.ParallelFor(["a", "b"]) as name:
            quiet(use(text=name))

    return p


def optional_parameter() -> Any:
    @dsl.pipeline(name="p")
    def p(text: str = None):  # type: ignore[assignment]  # noqa: RUF013
        quiet(use(text=text))

    return p


def container() -> Any:
    @dsl.pipeline(name="p")
    def p():
        quiet(contained())

    return p


def installing() -> Any:
    task = dsl.component(use.python_func, packages_to_install=["left-pad"], base_image="bikes:test")

    @dsl.pipeline(name="p")
    def p():
        quiet(task())

    return p


def cached() -> Any:
    @dsl.pipeline(name="p")
    def p():
        use()

    return p


@pytest.mark.parametrize(("build", "problem"), [
    (bare_if_on_named_output, "If without Else on a named output"),
    (quote_in_literal, "holds a quote"),
    (one_of_artifacts, "selects one of several artifacts"),
    (loop_over_named_output, "loops over a named output"),
    (optional_parameter, "optional without a value"),
    (container, "container component"),
    (installing, "installs packages"),
    (cached, "is cached"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_compiled_pipelines_that_break_a_rule_are_caught(
    build: Callable[[], Any], problem: str, tmp_path: Path
) -> None:
    found = spec_problems(compiled(build(), tmp_path))
    assert [line for line in found if problem in line], found


@pytest.mark.parametrize(
    "build", [if_else_on_named_output, bare_if_on_single_output, plain_literal, loop_over_literal],
    ids=lambda value: value.__name__,
)
def test_compiled_pipelines_that_keep_the_rules_pass(build: Callable[[], Any], tmp_path: Path) -> None:
    assert spec_problems(compiled(build(), tmp_path)) == []


@pytest.mark.parametrize(("source", "problem"), [
    ("from __future__ import annotations\n", "future annotations"),
    ("from kfp.dsl import *\n", "import *"),
    ("@component\ndef a(x: int):\n    return helper(x)\n", "unknown name helper"),
    ("import json\n@component\ndef a(x: int):\n    return json.dumps(x)\n", "module-level name json"),
    ("def helper():\n    return 1\n@component\ndef a(x: int):\n    return x\n", "module-level helper helper"),
    ("@component(packages_to_install=['pandas'])\ndef a(x: int):\n    return x\n", "packages_to_install"),
    ("@component(target_image='x')\ndef a(x: int):\n    return x\n", "target_image"),
    ("@dsl.container_component\ndef a():\n    return dsl.ContainerSpec(image='x')\n", "container components"),
    ("@dsl.pipeline(name='p')\ndef p(x: str = None):\n    use(x)\n", "default None"),
    ("@dsl.pipeline(name='p')\ndef p(x: Optional[str] = ''):\n    use(x)\n", "Optional parameter x"),
    ("@dsl.pipeline(name='p')\ndef p(n: int = 1):\n    use(f'n={n}')\n", "f-string"),
    ("@dsl.pipeline(name='p')\ndef p():\n    use(dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER)\n", "IndexError"),
    ("@component\ndef a(x: int):\n" + "    x = x + 1\n" * 9, "9 statements"),
], ids=lambda value: value if "\n" not in value else "source")
def test_sources_that_break_a_rule_are_caught(source: str, problem: str) -> None:
    found = source_problems(source)
    assert [line for line in found if problem in line], found


def test_a_plain_component_keeps_the_rules() -> None:
    source = '@component\ndef a(x: int) -> int:\n    """Doc."""\n    import json\n    return len(json.dumps(x))\n'
    assert source_problems(source) == []
