"""`python -m pipelines [PATH]`: compile the pipeline; the same sources give the same bytes."""

import sys
from pathlib import Path

from kfp import compiler

from pipelines.training import training

COMPILED = Path(__file__).parent / "compiled" / "training.yaml"


def compile_pipeline(path: Path = COMPILED) -> Path:
    """Write the compiled pipeline; the image of its tasks is BIKESHARE_IMAGE at import."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(training, str(path))
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{compile_pipeline(Path(sys.argv[1]) if len(sys.argv) > 1 else COMPILED)}\n")
