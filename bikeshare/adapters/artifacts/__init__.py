"""The model artifact: one content-hashed directory that serving, monitor and gate read without unpickling."""

from bikeshare.adapters.artifacts.directory import Artifact, content_hash, load_artifact

__all__ = ["Artifact", "content_hash", "load_artifact"]
