"""Is the API well, how fast is it, and is every prediction kept?"""

from scripts.dashboards.grafana import GREEN, ORANGE, RED, Dashboard, Panel, Query, decimals, stat

_FORECASTS = 'bikeshare_requests_total{route=~"/predict|/forecast"}'
_FAILED = 'bikeshare_requests_total{route=~"/predict|/forecast",code=~"5.."}'
_PREDICT_COUNT = 'bikeshare_request_seconds_count{route="/predict"}'
_OURS = "and on (job, instance) bikeshare_model_info"


def _quantile(share: float, by: str = "le") -> str:
    route = '{route="/predict"}' if by == "le" else ""
    return (f"histogram_quantile({share}, sum by ({by}) "
            f"(rate(bikeshare_request_seconds_bucket{route}[$__rate_interval])))")


SERVICE = Dashboard(
    "bikeshare-service", "bikeshare / Service", "Is the API well, how fast is it, and is every prediction kept?",
    "now-6h", (
        ("Now", (
            stat("Predicted hours", "sum(increase(bikeshare_predictions_total[$__range]))",
                 "Hours predicted in the time shown.", alerts=("NoPredictions",)),
            stat("Good answers", f"1 - (sum(increase({_FAILED}[$__range])) or vector(0))"
                 f" / sum(increase({_FORECASTS}[$__range]))",
                 "Share of /predict and /forecast without a 5xx in the time shown; the objective is 99.5 %.",
                 "percentunit", steps=((None, RED), (0.99, ORANGE), (0.995, GREEN)),
                 alerts=("AvailabilityBurnFast", "AvailabilityBurnSlow"),
                 extra=decimals(2)),
            stat("Fast answers",
                 'sum(increase(bikeshare_request_seconds_bucket{route="/predict",le="0.1"}[$__range]))'
                 f" / sum(increase({_PREDICT_COUNT}[$__range]))",
                 "Share of /predict answered within 0.1 s in the time shown; the objective is 99 %.",
                 "percentunit", steps=((None, RED), (0.98, ORANGE), (0.99, GREEN)),
                 alerts=("LatencyBurnFast", "LatencyBurnSlow"),
                 extra=decimals(2)),
            stat("p99 of /predict", _quantile(0.99).replace("$__rate_interval", "$__range"),
                 "99 of 100 requests in the time shown were faster.", "s"),
            stat("Pods serving", "count(bikeshare_model_info)", "Processes with a model loaded, canary included.",
                 steps=((None, RED), (1, GREEN)), alerts=("NoModelServed", "SecretMissing", "BackingServiceDown")),
            stat("Predictions lost", "sum(increase(bikeshare_prediction_log_dropped_total[$__range]))",
                 "Logged predictions that fitted neither memory nor disk in the time shown.",
                 steps=((None, GREEN), (1, RED)), alerts=("PredictionsLost",)),
        )),
        ("Traffic", (
            Panel("Requests by route", (Query(
                "sum by (route) (rate(bikeshare_requests_total[$__rate_interval]))", "{{route}}"),),
                "Requests per second.", unit="reqps", style="stack"),
            Panel("Answers by code", (Query(
                "sum by (code) (rate(bikeshare_requests_total[$__rate_interval]))", "{{code}}"),),
                "4xx are mistakes of clients, 5xx are ours.", unit="reqps", style="stack",
                alerts=("AvailabilityBurnFast",)),
            Panel("Failures", (
                Query(f"(sum(rate({_FAILED}[$__rate_interval])) or vector(0))"
                      f" / sum(rate({_FORECASTS}[$__rate_interval]))", "share of 5xx"),
                Query("sum(rate(bikeshare_prediction_errors_total[$__rate_interval]))"
                      " / sum(rate(bikeshare_requests_total[$__rate_interval]))", "share failed inside"),
            ), "Share of requests that failed.", unit="percentunit",
                alerts=("AvailabilityBurnSlow", "PredictionErrors")),
            Panel("Latency of /predict", (
                Query(_quantile(0.5), "p50"), Query(_quantile(0.95), "p95"), Query(_quantile(0.99), "p99"),
            ), "All batch sizes together.", unit="s", alerts=("LatencyBurnFast", "LatencyBurnSlow")),
            Panel("p95 by route", (Query(_quantile(0.95, "route, le"), "{{route}}"),), "The slow twentieth.", unit="s"),
            Panel("Predicted hours by source", (
                Query("sum by (source) (rate(bikeshare_predictions_total[$__rate_interval]))", "{{source}}"),
                Query("sum(rate(bikeshare_what_if_predictions_total[$__rate_interval]))", "of these, what-if"),
            ), "Hours per second: `mean` of both forests, or what a missing history left.", unit="short",
                limits=("of these, what-if",), alerts=("NoPredictions",)),
        )),
        ("Every prediction is kept", (
            Panel("Prediction log", (
                Query("sum(rate(bikeshare_prediction_log_written_total[$__rate_interval]))", "written"),
                Query("sum(rate(bikeshare_prediction_log_duplicates_total[$__rate_interval]))", "stored before"),
                Query("sum(rate(bikeshare_prediction_log_errors_total[$__rate_interval]))", "failed attempts"),
                Query("sum(rate(bikeshare_prediction_log_dropped_total[$__rate_interval]))", "lost"),
            ), "Rows, and attempts, per second.", alerts=("PredictionsLost", "DatabaseAway")),
            Panel("Waiting in memory", (Query(
                "sum by (instance) (bikeshare_prediction_log_queue_rows)", "{{instance}}"),),
                "Rows not yet written; at most 200,000 per process."),
            Panel("Waiting on disk", (Query(
                "sum by (instance) (bikeshare_prediction_log_spooled_bytes)", "{{instance}}"),),
                "Grows while the database is away.", unit="bytes",
                alerts=("PredictionLogSpooling", "SpoolNearlyFull")),
        )),
        ("What answers depend on", (
            Panel("Snapshot age", (Query("max by (instance) (bikeshare_snapshot_age_seconds)", "{{instance}}"),),
                  "Since history and level were read; renewed every minute.", unit="s", width=6,
                  alerts=("HistoryStale",)),
            Panel("Failed refreshes", (Query(
                "sum by (instance) (rate(bikeshare_snapshot_refresh_errors_total[$__rate_interval]))",
                "{{instance}}"),),
                "Per second; a failed one is tried again every 2 s.", width=6, alerts=("DatabaseAway",)),
            Panel("Level", (Query("avg by (forest) (bikeshare_level)", "{{forest}}"),),
                  "Actual divided by predicted: growth since training.", width=6),
            Panel("Degraded hours by reason", (Query(
                "sum by (reason) (rate(bikeshare_degraded_predictions_total[$__rate_interval]))", "{{reason}}"),),
                "Hours per second answered without full history.", width=6, style="stack",
                alerts=("DegradedAnswers", "LevelStale")),
        )),
        ("Processes", (
            Panel("Versions serving", (Query("count by (version) (bikeshare_model_info)", "version {{version}}"),),
                  "Pods per version; two versions side by side are a canary.", style="stack",
                  alerts=("NoModelServed", "CanaryRolledBack")),
            Panel("CPU", (Query(
                f"rate(process_cpu_seconds_total[$__rate_interval]) {_OURS}", "{{instance}}"),),
                "Cores per predictor.", unit="suffix: cores"),
            Panel("Memory", (Query(f"process_resident_memory_bytes {_OURS}", "{{instance}}"),),
                  "Resident memory per predictor.", unit="bytes"),
        )),
    ),
)
