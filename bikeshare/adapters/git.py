"""Which source made this: the revision baked into an image, or the checkout's."""

import os
import subprocess
from pathlib import Path


def revision(folder: Path | None = None) -> str:
    """Commit id, with `-dirty` when tracked files differ from it; `unknown` outside any checkout.

    Images carry it as GIT_REVISION; on a developer's machine git is asked.

    Args:
        folder: Checkout; None: the one this library lies in.
    """
    baked = os.environ.get("GIT_REVISION", "")
    if baked:
        return baked
    root = folder or Path(__file__).resolve().parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
