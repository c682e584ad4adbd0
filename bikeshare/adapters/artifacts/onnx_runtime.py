"""ONNX Runtime: the exported forests as a function; one thread, safe to share."""

import numpy as np
import numpy.typing as npt

from bikeshare.core.features import N_FEATURES
from bikeshare.core.grid import Floats
from bikeshare.errors import ArtifactError


class OnnxShapes:
    """Both forests of `model.onnx`; about 10 µs per forest and row."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises a family of pybind exceptions without a common base
            raise ArtifactError(f"model.onnx cannot be loaded: {error}") from error
        shape = session.get_inputs()[0].shape
        if shape[1] != N_FEATURES:
            raise ArtifactError(f"model.onnx reads {shape[1]} features, this library makes {N_FEATURES}: retrain")
        self._run = session.run

    def __call__(self, matrix: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """√shape of both forests for a matrix of shape (n, 37)."""
        stateless, history = self._run(("stateless", "history"), {"features": matrix})
        return stateless[:, 0].astype(np.float64), history[:, 0].astype(np.float64)
