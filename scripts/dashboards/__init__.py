"""Grafana dashboards as code: `python -m scripts.dashboards` writes charts/bikeshare/dashboards/*.json."""
