"""What runs around the server: rules and alerts of Prometheus, dashboards of Grafana, the compose file.

`python -m deploy` writes all that is generated; it is committed, and a test compares. Not part of an installation.
"""
