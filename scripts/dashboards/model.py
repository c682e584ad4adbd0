"""How good is what was served?"""

from scripts.dashboards.grafana import GREEN, ORANGE, RED, Dashboard, Panel, Query, decimals, stat

DAY = 86_400

MODEL = Dashboard(
    "bikeshare-model", "bikeshare / Model", "How good is what was served, against its own backtest and a naive rule?",
    "now-7d", (
        ("Now", (
            stat("Serving", "count by (version) (bikeshare_model_info)", "Versions with at least one pod.",
                 legend="{{version}}", alerts=("NoModelServed",)),
            stat("Age of its newest training hour", "max(bikeshare_champion_age_seconds)",
                 "A retrain is asked for at 56 days.", "s",
                 steps=((None, GREEN), (56 * DAY, ORANGE), (63 * DAY, RED)), alerts=("ModelTooOld",)),
            stat("WAPE, 7 days", "max(bikeshare_model_wape)", "Absolute error as a share of demand.", "percentunit"),
            stat("WAPE against its limit", "max(bikeshare_model_wape) / max(bikeshare_model_wape_limit)",
                 "Above 1 the forecast counts as decayed.", "none",
                 steps=((None, GREEN), (0.9, ORANGE), (1, RED)), alerts=("ForecastDecayed",),
                 extra=decimals(2)),
            stat("MAE against the naive rule", "max(bikeshare_model_mae) / max(bikeshare_naive_mae)",
                 "Above 1, repeating last week would be better.", "none",
                 steps=((None, GREEN), (0.9, ORANGE), (1, RED)), alerts=("WorseThanNaive",),
                 extra=decimals(2)),
            stat("Inputs over their limit", "max(bikeshare_drift_columns_over_limit)",
                 "Columns whose distribution left the season's limits; shown, never acted upon alone."),
        )),
        ("Error", (
            Panel("WAPE", (
                Query("max(bikeshare_model_wape)", "served, 7 days"),
                Query("max(bikeshare_backtest_wape)", "backtest"), Query("max(bikeshare_model_wape_limit)", "limit"),
            ), "Of what was served, against the champion's own backtest.", unit="percentunit", width=12,
                limits=("backtest", "limit"), alerts=("ForecastDecayed",)),
            Panel("MAE and the naive rule", (
                Query("max(bikeshare_model_mae)", "served, 7 days"),
                Query("max(bikeshare_naive_mae)", "same hour last week"),
            ), "Bikes per hour.", unit="suffix: bikes/h", width=12, limits=("same hour last week",),
                alerts=("WorseThanNaive",)),
            Panel("Bias", (
                Query("max(bikeshare_model_bias_log)", "log(predicted / actual), 7 days"),
                Query("max(bikeshare_model_bias_limit)", "limit"), Query("-max(bikeshare_model_bias_limit)", "-limit"),
            ), "Centred on the backtest; 0.1 is about 10 %.", unit="none", limits=("limit", "-limit"),
                alerts=("ForecastDecayed",)),
            Panel("Step", (Query("max(bikeshare_model_step_log)", "48 h against 14 days"),),
                  "A sudden step is told to people and retrains nothing by itself.", unit="none",
                  alerts=("DriftHeld",)),
            Panel("Interval coverage", (
                Query("max by (level) (bikeshare_interval_coverage)", "inside the {{level}} % interval"),
            ), "Share of hours inside; should lie near 80 and 95 %.", unit="percentunit"),
        )),
        ("Inputs", (
            Panel("Distance against its limit", (Query(
                'max by (column) (bikeshare_drift_score{method="season"})'
                ' / max by (column) (bikeshare_drift_limit{method="season"})', "{{column}}"),),
                "Seven days of served inputs against the same weeks of training; above 1 is unusual for the season.",
                unit="none", width=12, height=8, steps=((None, GREEN), (1, RED))),
            Panel("Plain comparison with training data", (
                Query("max(bikeshare_evidently_drift_share)", "columns drifted by Evidently's default rule"),
            ), "Nearly always high, because weather has seasons; shown, never acted upon.", unit="percentunit",
                width=12, height=8),
            Panel("Distances by method", (Query(
                "max by (column, method) (bikeshare_drift_score)"),),
                "W1, Jensen-Shannon and PSI against all of training, and the seasonal distance.", kind="bargauge",
                width=12, height=10, extra={
                    "options": {"displayMode": "basic", "orientation": "horizontal", "showUnfilled": True,
                                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
                    "fieldConfig": {"defaults": {"decimals": 2, "min": 0}},
                }),
            Panel("Age of the level", (
                Query("max(bikeshare_level_age_hours)", "newest demand in the level"),
                Query("max(bikeshare_labels_lag_hours)", "newest label the monitor saw"),
            ), "Hours.", unit="h", width=12, height=10, alerts=("LevelStale", "LabelsLate")),
        )),
    ),
)
