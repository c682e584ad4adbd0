"""What `helm test` runs in a pod: the service is ready, predicts a real hour, and says so in its metrics."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta

URL = os.environ["PREDICTOR_URL"]
# a new pod is refused for the seconds that the network takes to learn what its policy allows
PATIENCE = float(os.environ.get("PATIENCE_SECONDS", "60"))


def wait_for_network() -> None:
    """Return when the service answers at all, whatever it says."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(URL + "/livez", timeout=10).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"{URL} does not answer: {error}; is a predictor ready? kubectl get deployment predictor")
        time.sleep(1)


def call(path: str, body: object = None) -> str:
    """Answer of the service; ends the test with a sentence when it is no success."""
    # a what-if stays out of the prediction log: the monitor must not judge a test
    headers = {"Content-Type": "application/json", "X-What-If": "true", "X-API-Key": os.environ.get("API_KEY", "")}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        hint = " (no model yet? run the training pipeline first)" if error.code == 503 else ""
        sys.exit(f"{path} answered {error.code}{hint}: {error.read().decode()[:500]}")
    except OSError as error:
        sys.exit(f"{URL} does not answer: {error}; is a predictor ready? kubectl get deployment predictor")


wait_for_network()
call("/readyz")
hour = (datetime.now() + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
answer = json.loads(call("/predict", {"instances": [{
    "timestamp": hour.isoformat(), "temp_c": 18.0, "feels_like_c": 18.0, "humidity_pct": 55.0,
    "windspeed_kmh": 12.0, "weather": "clear",
}]}))
prediction = answer["predictions"][0]
demand, low, high = prediction["demand"], prediction["lower_95"], prediction["upper_95"]
if not 0 <= low <= demand <= high:
    sys.exit(f"demand {demand} for {hour} is not inside its interval [{low}, {high}]")
if "bikeshare_what_if_predictions_total" not in call("/metrics"):
    sys.exit("/metrics does not count predictions")
sys.stdout.write(f"version {answer['model_version']}: {demand:.0f} bikes at {hour} [{low:.0f}, {high:.0f}]\n")
