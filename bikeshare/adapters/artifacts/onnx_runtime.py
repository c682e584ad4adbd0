"""ONNX Runtime: the exported forests as a function; one thread, safe to share."""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bikeshare.core.features import N_FEATURES
from bikeshare.core.grid import Floats
from bikeshare.errors import ArtifactError

OUTPUTS = ("stateless", "history")
"""What the graph answers, in this order."""


class OnnxShapes:
    """Both forests of `model.onnx`; about 10 µs per forest and row."""

    def __init__(self, model: Path | bytes) -> None:
        """Load the graph from its file; as bytes, the runtime keeps them beside what it makes of them.

        Raises:
            ArtifactError: it is no graph, or reads another number of features.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises a family of pybind exceptions without a common base
            raise ArtifactError(f"model.onnx cannot be loaded: {error}") from error
        shape = session.get_inputs()[0].shape
        if shape[1] != N_FEATURES:
            raise ArtifactError(f"model.onnx reads {shape[1]} features, this library makes {N_FEATURES}: retrain")
        self._run = session.run
        self._session, self._turn = session, threading.Lock()
        self._row = np.zeros((1, N_FEATURES), dtype=np.float32)
        self._roots = np.zeros((2, 1, 1), dtype=np.float32)
        self._binding = session.io_binding()
        self._binding.bind_input("features", "cpu", 0, np.float32, self._row.shape, self._row.ctypes.data)
        for name, root in zip(OUTPUTS, self._roots, strict=True):
            self._binding.bind_output(name, "cpu", 0, np.float32, root.shape, root.ctypes.data)

    def __call__(self, matrix: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """√shape of both forests for a matrix of shape (n, 37)."""
        if len(matrix) == 1 and self._turn.acquire(blocking=False):
            # Memory that the session already knows saves a third of the call.
            try:
                self._row[:] = matrix
                self._session.run_with_iobinding(self._binding)
                roots = self._roots.astype(np.float64)
                return roots[0, 0], roots[1, 0]
            finally:
                self._turn.release()
        stateless, history = self._run(OUTPUTS, {"features": matrix})
        return stateless[:, 0].astype(np.float64), history[:, 0].astype(np.float64)
