"""skops: the scikit-learn pipelines, stored without pickle."""

from pathlib import Path

from bikeshare.core.training import SklearnShapes
from bikeshare.errors import ArtifactError

_TRUSTED = ["sklearn.ensemble._forest.RandomForestRegressor", "sklearn.tree._tree.Tree"]


def dump_estimator(shapes: SklearnShapes, path: Path) -> None:
    """Write both pipelines to one compressed file."""
    import zipfile

    from skops.io import dump

    dump({"stateless": shapes.stateless, "history": shapes.history}, path, compression=zipfile.ZIP_DEFLATED)


def load_estimator(path: Path) -> SklearnShapes:
    """Read them back; ArtifactError when the file is damaged or holds a type that is not a forest's."""
    from skops.io import get_untrusted_types, load

    try:
        unknown = [name for name in get_untrusted_types(file=path) if not name.startswith(("sklearn.", "numpy."))]
        if unknown:
            raise ArtifactError(f"{path.name} holds types that are not a forest's: {', '.join(unknown)}")
        pipelines = load(path, trusted=get_untrusted_types(file=path))
        return SklearnShapes(pipelines["stateless"], pipelines["history"])
    except ArtifactError:
        raise
    except Exception as error:  # zip, JSON and skops each have their own exceptions
        raise ArtifactError(f"{path.name} cannot be read: {error}") from error
