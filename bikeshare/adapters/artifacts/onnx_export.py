"""skl2onnx: both forests in one graph with one input, exact on every training row or refused."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bikeshare.adapters.artifacts.onnx_runtime import OnnxShapes
from bikeshare.core.features import N_FEATURES, N_STATELESS
from bikeshare.core.training import TrainedModel
from bikeshare.errors import ArtifactError

PARITY = 1e-4
"""Largest relative difference between ONNX and scikit-learn on any training row."""

_OPSET = {"": 17, "ai.onnx.ml": 3}


def export_onnx(trained: TrainedModel) -> bytes:
    """The serialised graph: input `features` (n, 37) float32, outputs `stateless` and `history` (n, 1).

    Raises:
        ArtifactError: the exporter failed, or its answers differ from scikit-learn's.
    """
    import onnx
    from onnx import TensorProto, helper

    try:
        parts = [
            _convert(trained.shapes.stateless, N_STATELESS, "stateless"),
            _convert(trained.shapes.history, N_FEATURES, "history"),
        ]
        nodes = [helper.make_node("Slice", ["features", "low", "high", "axis"], ["stateless_features"])]
        constants = [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("low", 0), ("high", N_STATELESS), ("axis", 1))
        ]
        for part, source in zip(parts, ("stateless_features", "features"), strict=True):
            given = part.graph.input[0].name
            for node in part.graph.node:
                node.input[:] = [source if name == given else name for name in node.input]
            nodes.extend(part.graph.node)
            constants.extend(part.graph.initializer)
        graph = helper.make_graph(
            nodes, "bikeshare",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, N_FEATURES])],
            [
                helper.make_tensor_value_info(part.graph.output[0].name, TensorProto.FLOAT, [None, 1])
                for part in parts
            ],
            constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSET.items()],
            ir_version=8, producer_name="bikeshare",
        )
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
    except (RuntimeError, ValueError, TypeError, onnx.checker.ValidationError) as error:
        raise ArtifactError(f"the forests could not be exported to ONNX: {error}") from error
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


def _convert(estimator: Any, columns: int, prefix: str) -> Any:
    from onnx import compose
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    model = to_onnx(
        estimator, initial_types=[("features", FloatTensorType([None, columns]))], target_opset=_OPSET,
    )
    prefixed = compose.add_prefix(model, prefix + "_")
    final = prefixed.graph.output[0].name
    for node in prefixed.graph.node:
        node.output[:] = [prefix if name == final else name for name in node.output]
    prefixed.graph.output[0].name = prefix
    return prefixed
