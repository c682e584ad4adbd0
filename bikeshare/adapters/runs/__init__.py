"""Starting and finding pipeline runs: in a child process on this machine, or through the KFP API."""

from bikeshare.adapters.runs.kfp_api import KfpRuns
from bikeshare.adapters.runs.local import LocalRuns

__all__ = ["KfpRuns", "LocalRuns"]
