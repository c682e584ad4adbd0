"""What a serving process holds in memory."""

import re
from datetime import timedelta
from pathlib import Path

from tests.integration.predictor.world import NOW, Client, World, instance, predictor, wait_until

TRAINING_ONLY = {"matplotlib", "mlflow", "onnx", "pandas", "pyarrow", "scipy", "sklearn"}


def test_a_serving_process_maps_no_library_of_training_and_stays_small(world: World) -> None:
    with predictor(world) as running:
        client = Client(running.url)
        for hours in (1, 48, 500):
            rows = [instance(NOW - timedelta(hours=160) + timedelta(hours=hour)) for hour in range(hours)]
            assert client.post("/predict", {"instances": rows})[0] == 200
        assert client.get("/model")[0] == client.post("/-/refresh", {})[0] == 200
        wait_until(lambda: client.metric("bikeshare_prediction_log_written_total") == 549, what="the log is written")
        process = Path(f"/proc/{running.process.pid}")
        mapped = set(re.findall(r"site-packages/(\w+)/", (process / "maps").read_text()))
        peak_kb = int((process / "status").read_text().split("VmHWM:")[1].split()[0])

    assert mapped >= {"numpy", "onnxruntime", "pydantic_core", "uvloop"}
    assert not mapped & TRAINING_ONLY
    assert peak_kb < 300 * 1024
