"""The model artifact: one content-hashed directory that serving, monitor and gate read without unpickling."""

from bikeshare.adapters.artifacts.directory import (
    Artifact,
    ArtifactInfo,
    content_hash,
    load_artifact,
    save_artifact,
)

__all__ = ["Artifact", "ArtifactInfo", "content_hash", "load_artifact", "save_artifact"]
