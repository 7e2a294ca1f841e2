"""The dashboards' panels, asked and drawn without Grafana: `python -m benchmarks.fleet.panels`."""
