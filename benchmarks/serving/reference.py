"""`python -m benchmarks.serving.reference echo|naive PORT`: what the predictor is measured against.

Both run under the server program of the predictor, with its event loop and HTTP parser.
"""

import sys
from typing import Any

ANSWER = (
    b'{"model_version":"1","request_id":"00000000000000000000000000000000","predictions":[{"timestamp":'
    b'"2012-06-20T10:00","demand":312.4871937,"lower_80":251.1873621,"upper_80":380.9918273,"lower_95":208.1726354,'
    b'"upper_95":441.8827364,"degraded":false,"source":"mean","level_age_hours":9.0}]}'
)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The least a server can do: read the body, answer a constant of the usual size."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER)),
    ]})
    await send({"type": "http.response.body", "body": ANSWER})


def naive() -> Any:
    """The usual tutorial: FastAPI, pydantic models, a pandas frame per request, scikit-learn forests.

    It computes the same answer from the same forests and history. It does not log its predictions, count metrics
    or refuse hours out of range.
    """
    import os
    from datetime import datetime

    import joblib
    import pandas as pd
    from fastapi import FastAPI
    from pydantic import BaseModel

    from benchmarks.serving.world import NOW
    from bikeshare.adapters.records import SqlRecords
    from bikeshare.core.batch import WeatherBatch
    from bikeshare.core.forecasting import Forecaster

    forecaster = Forecaster.of(joblib.load(os.environ["SERVING_FORESTS"]))
    records = SqlRecords(os.environ["BIKESHARE_DATABASE_URL"])
    snapshot = forecaster.snapshot(records.observations(), NOW)
    records.close()
    app = FastAPI()

    class Instance(BaseModel):
        timestamp: datetime
        temp_c: float
        feels_like_c: float
        humidity_pct: float
        windspeed_kmh: float
        weather: str

    class Instances(BaseModel):
        instances: list[Instance]

    class Prediction(BaseModel):
        timestamp: datetime
        demand: float
        lower_80: float
        upper_80: float
        lower_95: float
        upper_95: float

    class Predictions(BaseModel):
        predictions: list[Prediction]

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    def predict(request: Instances) -> Predictions:
        frame = pd.DataFrame([instance.model_dump() for instance in request.instances])
        forecast = forecaster.predict(WeatherBatch.from_frame(frame), snapshot, NOW)
        answer = frame[["timestamp"]].assign(
            demand=forecast.demand, lower_80=forecast.lower_80, upper_80=forecast.upper_80,
            lower_95=forecast.lower_95, upper_95=forecast.upper_95,
        )
        return Predictions(predictions=[Prediction(**row) for row in answer.to_dict("records")])

    return app


def main() -> None:
    """Serve until SIGTERM."""
    import uvicorn

    application = echo if sys.argv[1] == "echo" else naive()
    uvicorn.run(application, port=int(sys.argv[2]), log_config=None, access_log=False, server_header=False,
                proxy_headers=False)


if __name__ == "__main__":
    main()
