import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bikeshare.adapters.artifacts import load_artifact
from bikeshare.adapters.artifacts.directory import FILES, MANIFEST, content_hash
from bikeshare.adapters.artifacts.onnx_export import assert_parity, export_onnx, not_above
from bikeshare.adapters.artifacts.onnx_runtime import OnnxShapes
from bikeshare.adapters.artifacts.writing import save_artifact
from bikeshare.core.batch import WeatherBatch
from bikeshare.core.features import N_FEATURES, N_STATELESS
from bikeshare.core.training import SENTINEL, SklearnShapes, TrainingConfig, build_estimator
from bikeshare.errors import ArtifactError
from tests.unit.model_world import CUT, END, forecaster, observations, trained


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("artifact")
    info = save_artifact(
        trained(), directory, metadata={"git_revision": "abc", "data_hash": "def"}, backtest={"wape": 0.1},
        reference_profile={"rows": 3}, card="# Card\n",
    )
    return directory, info


@pytest.fixture
def copy(saved, tmp_path):
    for path in saved[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_round_trip(saved):
    directory, info = saved
    artifact = load_artifact(directory, expected_hash=info.content_hash, with_estimator=True)
    assert artifact.content_hash == info.content_hash
    assert artifact.contract["git_revision"] == "abc"
    assert artifact.backtest == {"wape": 0.1}
    assert artifact.card == "# Card\n"
    assert {path.name for path in directory.iterdir()} == {*FILES, MANIFEST}
    assert info.bytes == sum(path.stat().st_size for path in directory.iterdir())
    expected = forecaster().backtest_predict(observations(), CUT, END)
    got = artifact.forecaster.backtest_predict(observations(), CUT, END)
    for name in ("prediction", "lower_80", "upper_95"):
        assert np.allclose(got[name], expected[name], rtol=1e-4)
    matrix = trained().training_matrix
    for one, two in zip(artifact.estimator(matrix), trained().shapes(matrix), strict=True):
        assert np.allclose(one, two, rtol=1e-6)


def test_onnx_equals_sklearn_without_history_too():
    assert assert_parity(trained(), export_onnx(trained()), trained().training_matrix) <= 1e-4


def test_onnx_goes_where_sklearn_goes_on_the_edge_of_a_threshold():
    """Thresholds are doubles; the graph holds floats. Values at and right beside each must fall on the same side."""
    shapes = trained().shapes
    rows = []
    for forest, pipeline in (("stateless", shapes.stateless), ("history", shapes.history)):
        for tree in (estimator.tree_ for estimator in pipeline.named_steps["forest"].estimators_[:2]):
            splits = np.flatnonzero(tree.children_left >= 0)[:200]
            starts = np.resize(trained().training_matrix, (len(splits), N_FEATURES))
            for node, start in zip(splits, starts, strict=True):
                edge = np.float32(tree.threshold[node])
                for value in (np.nextafter(edge, np.float32(-np.inf)), edge, np.nextafter(edge, np.float32(np.inf))):
                    row = start.copy()
                    row[tree.feature[node]] = value
                    rows.append(row)
        assert len(rows) > 1000, forest
    assert assert_parity(trained(), export_onnx(trained()), np.array(rows)) <= 1e-6


def test_a_tree_without_any_split_is_exported_too():
    flat = build_estimator(TrainingConfig(trees=3, n_jobs=1), "history", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat.fit(trained().training_matrix, np.full(trained().rows, 2.5))
    model = replace(trained(), shapes=SklearnShapes(trained().shapes.stateless, flat))
    assert OnnxShapes(export_onnx(model))(trained().training_matrix[:2])[1].tolist() == [2.5, 2.5]


def test_a_graph_of_the_older_operator_still_answers(copy):
    """Its graph holds TreeEnsembleRegressor behind an Imputer."""
    matrix = trained().training_matrix.copy()
    matrix[::3, N_STATELESS:] = np.nan
    (copy / "model.onnx").write_bytes(older_graph(trained().shapes))
    got = OnnxShapes(copy / "model.onnx")(matrix)
    for one, two in zip(got, trained().shapes(matrix), strict=True):
        assert np.allclose(one, two, rtol=1e-5)


def older_graph(shapes: SklearnShapes) -> bytes:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Slice", ["features", "low", "high", "axis"], ["stateless_features"])]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("low", 0), ("high", N_STATELESS), ("axis", 1))
    ]
    for name, source, width in (("stateless", "stateless_features", N_STATELESS), ("history", "features", N_FEATURES)):
        forest = getattr(shapes, name).named_steps["forest"]
        trees = [estimator.tree_ for estimator in forest.estimators_]
        at = [(place, node) for place, tree in enumerate(trees) for node in range(tree.node_count)]
        leaves = [(place, node) for place, node in at if trees[place].children_left[node] < 0]
        nodes.append(helper.make_node(
            "Imputer", [source], [f"{name}_filled"], domain="ai.onnx.ml",
            imputed_value_floats=[SENTINEL] * width, replaced_value_float=float("nan"),
        ))
        nodes.append(helper.make_node(
            "TreeEnsembleRegressor", [f"{name}_filled"], [name], domain="ai.onnx.ml", n_targets=1,
            post_transform="NONE", nodes_treeids=[place for place, _ in at], nodes_nodeids=[node for _, node in at],
            nodes_featureids=[max(0, trees[place].feature[node]) for place, node in at],
            nodes_modes=["LEAF" if trees[place].children_left[node] < 0 else "BRANCH_LEQ" for place, node in at],
            nodes_values=np.concatenate([not_above(tree.threshold) for tree in trees]).tolist(),
            nodes_truenodeids=[max(0, trees[place].children_left[node]) for place, node in at],
            nodes_falsenodeids=[max(0, trees[place].children_right[node]) for place, node in at],
            target_treeids=[place for place, _ in leaves], target_nodeids=[node for _, node in leaves],
            target_ids=[0] * len(leaves),
            target_weights=[float(trees[place].value[node, 0, 0]) / len(trees) for place, node in leaves],
        ))
    graph = helper.make_graph(
        nodes, "bikeshare", [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, N_FEATURES])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("stateless", "history")],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_parity_is_really_checked():
    wrong = replace(trained(), shapes=SklearnShapes(trained().shapes.stateless, trained().shapes.history))
    data = export_onnx(trained())
    wrong.shapes.__dict__["stateless"] = type("Off", (), {"predict": lambda self, rows: np.ones(len(rows))})()
    with pytest.raises(ArtifactError, match="differs"):
        assert_parity(wrong, data, trained().training_matrix)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_anywhere_is_refused(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=f"{name} is corrupt"):
        load_artifact(copy)


def test_a_file_that_no_hash_covers_is_refused(copy):
    (copy / "extra.bin").write_bytes(b"unlisted")
    with pytest.raises(ArtifactError, match="no part of an artifact: \\['extra.bin'\\]"):
        load_artifact(copy)
    (copy / "extra.bin").unlink()
    load_artifact(copy)


def test_missing_files_wrong_hash_and_forged_manifest_are_refused(copy, saved):
    with pytest.raises(ArtifactError, match="expected 0000"):
        load_artifact(copy, expected_hash="0" * 64)
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "content_hash": "f" * 64}))
    with pytest.raises(ArtifactError, match="content hash"):
        content_hash(copy)
    (copy / MANIFEST).write_text(json.dumps({"content_hash": "", "files": {}}))
    with pytest.raises(ArtifactError, match="lists"):
        content_hash(copy)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    (copy / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match="missing"):
        load_artifact(copy)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact(copy / "nowhere")


def test_another_contract_version_is_refused(copy):
    rewrite(copy, "contract.json", lambda document: {**document, "contract_version": "0"})
    with pytest.raises(ArtifactError, match="contract version 0"):
        load_artifact(copy)


def test_incomplete_levels_and_damaged_models_are_refused(copy):
    rewrite(copy, "levels.json", lambda document: {})
    with pytest.raises(ArtifactError, match="incomplete"):
        load_artifact(copy)


def test_a_row_without_snapshot_history_is_answered_by_the_exported_forest(saved):
    artifact = load_artifact(saved[0])
    snapshot = artifact.forecaster.snapshot(observations().head(0), END)
    batch = WeatherBatch.from_frame(observations().tail(1))
    assert artifact.forecaster.predict(batch, snapshot, END).demand[0] > 0


def rewrite(directory: Path, name: str, change) -> None:
    """Change a document and make the manifest agree, as somebody with other software would."""
    import hashlib

    path = directory / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = "".join(f"{key}\0{manifest['files'][key]}\n" for key in sorted(manifest["files"]))
    manifest["content_hash"] = hashlib.sha256(lines.encode()).hexdigest()
    (directory / MANIFEST).write_text(json.dumps(manifest))
