"""ONNX: both forests in one graph with one input, exact on every training row or refused.

Written straight from scikit-learn's trees as `TreeEnsemble`, whose tensors ONNX Runtime loads in 33 MB; the older
`TreeEnsembleRegressor` that exporters write holds one string per node and takes 86 MB for the same forests.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bikeshare.adapters.artifacts.onnx_runtime import OUTPUTS, OnnxShapes
from bikeshare.core.features import N_FEATURES, N_STATELESS
from bikeshare.core.training import SENTINEL, TrainedModel
from bikeshare.errors import ArtifactError

PARITY = 1e-4
"""Largest relative difference between ONNX and scikit-learn on any training row."""

_OPSET = {"": 17, "ai.onnx.ml": 5}
_IR_VERSION = 10
_AVERAGE, _GREATER = 0, 3
"""`aggregate_function` and `nodes_modes` of the operator."""
_LOWEST = np.float32(-np.inf)


def export_onnx(trained: TrainedModel) -> bytes:
    """The serialised graph: input `features` (n, 37) float32, outputs `stateless` and `history` (n, 1).

    Raises:
        ArtifactError: the export is not valid ONNX, or its answers differ from scikit-learn's.
    """
    import onnx
    from onnx import TensorProto, helper

    pipelines = {"stateless": trained.shapes.stateless, "history": trained.shapes.history}
    nodes = [
        helper.make_node("Imputer", ["features"], ["filled"], domain="ai.onnx.ml",
                         imputed_value_floats=[SENTINEL], replaced_value_float=float("nan")),
        helper.make_node("Neg", ["filled"], ["mirrored"]),
        helper.make_node("Concat", ["filled", "mirrored"], ["both"], axis=1),
    ]
    nodes += [
        helper.make_node(
            "TreeEnsemble", ["both"], [name], name=name, domain="ai.onnx.ml",
            **_attributes(pipelines[name].named_steps["forest"]),
        )
        for name in OUTPUTS
    ]
    graph = helper.make_graph(
        nodes, "bikeshare",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, N_FEATURES])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in OUTPUTS],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSET.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="bikeshare")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(f"the forests could not be exported to ONNX: {error}") from error
    data: bytes = model.SerializeToString()
    assert_parity(trained, data, trained.training_matrix)
    return data


def assert_parity(trained: TrainedModel, data: bytes, matrix: npt.NDArray[np.float32]) -> float:
    """Largest relative difference on the rows and on the same rows without history; ArtifactError above `PARITY`."""
    bare = matrix.copy()
    bare[:, N_STATELESS:] = np.nan
    exported = OnnxShapes(data)
    worst = 0.0
    for rows in (matrix, bare):
        for expected, got in zip(trained.shapes(rows), exported(rows), strict=True):
            worst = max(worst, float(np.max(np.abs(got - expected) / np.maximum(np.abs(expected), 1e-9))))
    if not worst <= PARITY:
        raise ArtifactError(f"ONNX differs from scikit-learn by {worst:.2e} (limit {PARITY:.0e}): not exported")
    return worst


def _attributes(forest: Any) -> dict[str, Any]:
    """What makes a TreeEnsemble on `both` average a scikit-learn forest.

    scikit-learn goes left where value <= threshold. ONNX Runtime keeps the node that follows a "no" right behind its
    parent and jumps for a "yes", so the way that most training rows took is always the "no": where that is left, the
    question is value > threshold; where it is right, -value > a little less than -threshold. Every node asks
    "greater?", because nodes that ask alike are answered without looking what they ask.
    """
    from onnx.numpy_helper import from_array

    names = ("feature", "split", "yes", "yes_is_leaf", "no", "no_is_leaf", "weight")
    found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    roots: list[int] = []
    nodes = leaves = 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        splits = tree.children_left >= 0
        place = np.where(splits, nodes + np.cumsum(splits), leaves + np.cumsum(~splits)) - 1
        columns = (tree.children_left, tree.children_right, tree.feature, tree.threshold)
        # A tree of a single leaf is a node that leads there either way.
        left, right, feature, threshold = (column[splits] if splits.any() else np.zeros(1, int) for column in columns)
        limit, usually_left = not_above(threshold), tree.n_node_samples[left] >= tree.n_node_samples[right]
        yes, no = np.where(usually_left, right, left), np.where(usually_left, left, right)
        parts = (
            np.where(usually_left, feature, feature + N_FEATURES),
            np.where(usually_left, limit, np.nextafter(-limit, _LOWEST)),
            place[yes], ~splits[yes], place[no], ~splits[no], tree.value[~splits, 0, 0].astype(np.float32),
        )
        for name, part in zip(names, parts, strict=True):
            found[name].append(part)
        roots.append(nodes)
        nodes, leaves = nodes + len(feature), leaves + int((~splits).sum())
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        "aggregate_function": _AVERAGE, "n_targets": 1, "tree_roots": roots,
        "nodes_modes": from_array(np.full(nodes, _GREATER, np.uint8)),
        "nodes_featureids": joined["feature"].tolist(),
        "nodes_splits": from_array(joined["split"]),
        "nodes_truenodeids": joined["yes"].tolist(), "nodes_trueleafs": joined["yes_is_leaf"].astype(int).tolist(),
        "nodes_falsenodeids": joined["no"].tolist(), "nodes_falseleafs": joined["no_is_leaf"].astype(int).tolist(),
        "leaf_targetids": [0] * leaves, "leaf_weights": from_array(joined["weight"]),
    }


def not_above(threshold: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The largest float32 that is not above each threshold: a float32 is greater than both or than neither."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, _LOWEST), rounded)
