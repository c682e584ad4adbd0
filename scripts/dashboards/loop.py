"""What the loop decided, what held it back, and whether it looks at all."""

from scripts.dashboards.grafana import GREEN, ORANGE, RED, Dashboard, Panel, Query, coloured, stat

STATES = {"healthy": GREEN, "watch": "yellow", "bad_data": RED, "drift": ORANGE, "retraining": "blue",
           "cooldown": "light-blue", "escalated": "dark-red"}

LOOP = Dashboard(
    "bikeshare-loop", "bikeshare / Loop", "What the loop decided, what held it back, and whether it looks at all.",
    "now-7d", (
        ("Now", (
            stat("State", "max by (state) (bikeshare_state) == 1", "Where the loop is.",
                 alerts=("LiveDataBroken", "RetrainingNotHelping"),
                 legend="{{state}}", extra={**coloured(STATES), "options": {"colorMode": "background"}}),
            stat("Since the last look", "time() - max(bikeshare_monitor_last_success_timestamp_seconds)",
                 "The monitor looks every hour.", "s",
                 steps=((None, GREEN), (3900, ORANGE), (7200, RED)), alerts=("MonitorStale",)),
            stat("Age of the newest label", "max(bikeshare_labels_lag_hours)", "A daily file is 24 to 48 h old.", "h",
                 steps=((None, GREEN), (48, ORANGE), (54, RED)), alerts=("LabelsLate",)),
            stat("Last judged model", "max(bikeshare_pipeline_last_success_timestamp_seconds) * 1000",
                 "When a run last ended with a promoted or refused version, on the loop's clock.", "dateTimeAsIso",
                 alerts=("PipelineFailing",)),
            stat("Refused in a row", "max(bikeshare_refused_in_a_row)", "Challengers since the last promotion.",
                 steps=((None, GREEN), (3, ORANGE), (5, RED)), alerts=("ChallengerRefused",)),
            stat("Retrains that did not help", "max(bikeshare_unhelpful_retrains)", "In a row; 2 open the breaker.",
                 steps=((None, GREEN), (1, ORANGE), (2, RED)), alerts=("RetrainingNotHelping",)),
        )),
        ("Decisions", (
            Panel("State over time", (Query("max by (state) (bikeshare_state) == 1", "{{state}}"),),
                  "One row per state; a bar where the loop was in it.", kind="state-timeline", width=24, height=7,
                  extra={**coloured(STATES), "options": {
                      "showValue": "never", "mergeValues": True, "rowHeight": 0.8, "alignValue": "left",
                      "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
                  }}),
            Panel("Decisions by kind", (Query(
                "sum by (action) (increase(bikeshare_decisions_total[1h]))", "{{action}}"),),
                "Looks per hour by what was decided.", style="bars"),
            Panel("Triggers held back", (Query(
                "sum by (reason) (increase(bikeshare_retrain_suppressed_total[1h]))", "{{reason}}"),),
                "A retrain was wanted; what held it back.", style="bars", alerts=("DriftHeld",)),
            Panel("Retrains requested", (Query(
                "sum by (reason) (increase(bikeshare_retrain_requested_total[1h]))", "{{reason}}"),),
                "Runs the monitor started, by trigger.", style="bars"),
        )),
        ("Evidence", (
            Panel("Broken rules", (Query("max by (rule) (bikeshare_dq_failures)", "{{rule}}"),),
                  "Rules of live inputs and refused days that are broken.", style="stack",
                  alerts=("LiveDataBroken",)),
            Panel("Labels", (Query("max(bikeshare_labels_lag_hours)", "age of the newest label"),),
                  "Hours; from 54 on decay cannot be judged.", unit="h", steps=((None, GREEN), (54, RED)),
                  alerts=("LabelsLate",)),
            Panel("Error against its limit", (
                Query("max(bikeshare_model_wape) / max(bikeshare_model_wape_limit)", "WAPE"),
                Query("abs(max(bikeshare_model_bias_log)) / max(bikeshare_model_bias_limit)", "absolute bias"),
            ), "Above 1 on 2 of 3 daily checks a retrain is asked for.", unit="none", steps=((None, GREEN), (1, RED)),
                alerts=("ForecastDecayed",)),
        )),
        ("Runs", (
            Panel("Ended runs", (Query(
                "sum by (result) (increase(bikeshare_pipeline_runs_total[1h]))", "{{result}}"),),
                "Training runs by result, of the monitor, the schedule and people.", style="bars",
                alerts=("PipelineFailing", "CanaryRolledBack", "ChallengerRefused")),
            Panel("Duration of a look", (Query("max(bikeshare_monitor_seconds)", "wall time"),),
                  "Quiet looks take seconds; one with a report half a minute.", unit="s", alerts=("MonitorStale",)),
            Panel("Alerts", (Query("sum by (alertname, severity, alertstate) (ALERTS)"),),
                  "Pending or firing; each has a runbook.", kind="table",
                  extra={"options": {"showHeader": True, "sortBy": [{"displayName": "alertname", "desc": False}]},
                         "transformations": [{"id": "organize", "options": {
                             "excludeByName": {"Time": True, "Value": True}, "indexByName": {},
                             "renameByName": {"alertname": "alert", "alertstate": "state"}}}],
                         "fieldConfig": {"overrides": [{
                             "matcher": {"id": "byName", "options": "alert"},
                             "properties": [{"id": "links", "value": [{
                                 "title": "Runbook", "url": "${runbooks}/${__value.raw}.md", "targetBlank": True,
                             }]}],
                         }]}}),
        )),
    ),
)
