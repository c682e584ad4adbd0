"""skops: the scikit-learn pipelines, stored without pickle."""

from copy import deepcopy
from pathlib import Path

from bikeshare.core.training import SklearnShapes
from bikeshare.errors import ArtifactError


def dump_estimator(shapes: SklearnShapes, path: Path) -> None:
    """Write both pipelines to one compressed file, without what `predict` does not read (half of the bytes)."""
    import zipfile

    from skops.io import dump

    slim = {"stateless": deepcopy(shapes.stateless), "history": deepcopy(shapes.history)}
    for pipeline in slim.values():
        forest = pipeline.named_steps["forest"]
        forest.oob_prediction_ = None
        for tree in forest.estimators_:
            tree.tree_.impurity[:] = 0.0
            tree.tree_.n_node_samples[:] = 0
            tree.tree_.weighted_n_node_samples[:] = 0.0
            tree.tree_.value[:] = tree.tree_.value.astype("float32")
    dump(slim, path, compression=zipfile.ZIP_DEFLATED, compresslevel=6)


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
