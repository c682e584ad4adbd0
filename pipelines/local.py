"""One run of the compiled pipeline on this machine: the process that `LocalRuns` starts.

The engine's word is not enough: `kfp.local` can skip a branch and report success, so a run has succeeded only when its
outcome lies in the store.
"""

import argparse
import os
import re
import resource
import shutil
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

from bikeshare.adapters.runs.local import read_run, update_run
from bikeshare.bootstrap import wire_store
from bikeshare.settings import load_settings
from bikeshare.steps.outcome import Outcome, read_outcome

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STEP = re.compile(
    r"(?P<at>[0-9:.]+) - [A-Z]+ - (?P<what>Executing task|Task) '(?P<task>[^']+)'(?: finished with status .*)?$"
)


def main(arguments: list[str] | None = None) -> int:
    """Run what `run.json` asks for and write down how it ended; exit code 0 only for a finished run."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the run, with its run.json")
    folder = parser.parse_args(arguments).folder.absolute()
    update_run(folder, status="running", started_at=_wall_time(), pid=os.getpid())
    error = ""
    try:
        _execute(folder)
    except Exception as failure:  # whatever ends the run must be written down
        error = _ANSI.sub("", str(failure)) or repr(failure)
    outcome = None
    try:
        outcome = read_outcome(wire_store(load_settings()), read_run(folder)["run_key"])
    except Exception as failure:
        error = error or f"the outcome cannot be read: {failure}"
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    status, reason = _verdict(outcome, error)
    if status == "succeeded":  # what is worth keeping lies in the store and in the registry by now
        shutil.rmtree(folder / "artifacts", ignore_errors=True)
    update_run(
        folder, status=status, finished_at=_wall_time(), error=error or None, reason_of_end=reason,
        result=None if outcome is None else outcome.result, version=None if outcome is None else outcome.version,
        seconds=step_seconds(folder / "run.log"), cpu_seconds=_cpu_seconds(),
    )
    return 0 if status == "succeeded" else 1


def _execute(folder: Path) -> None:
    from kfp import components, local

    warnings.filterwarnings("ignore", module="kfp")
    document = read_run(folder)
    local.init(
        local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"), raise_on_error=True,
        enable_caching=False,
    )
    components.load_component_from_file(document["package"])(**document["arguments"])


def step_seconds(log: Path) -> dict[str, float]:
    """Wall seconds of each task, read from the engine's own lines."""
    begun: dict[str, datetime] = {}
    seconds: dict[str, float] = {}
    for line in _ANSI.sub("", log.read_text(errors="replace")).splitlines():
        found = _STEP.match(line)
        if found:
            at = datetime.strptime(found["at"], "%H:%M:%S.%f")
            if found["what"] == "Executing task":
                begun[found["task"]] = at
            elif found["task"] in begun:
                seconds[found["task"]] = round((at - begun[found["task"]]).total_seconds() % 86_400, 1)
    return seconds


def _cpu_seconds() -> float:
    """CPU of this process and of all tasks it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in spent), 1)


def _verdict(outcome: Outcome | None, error: str) -> tuple[str, str]:
    """Status of the run and why: promoted, refused and skipped are proper ends, everything else is not."""
    if outcome is None:
        return "failed", error or "the engine reports success, but no task wrote an outcome: a branch was skipped"
    if error or outcome.result not in ("promoted", "refused", "skipped"):
        return "failed", outcome.reason if outcome.result != "promoted" else error
    return "succeeded", outcome.reason


def _wall_time() -> str:
    return datetime.now(tz=UTC).replace(tzinfo=None).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
