"""A fleet on one machine: servers, Prometheus, Alertmanager and who is told, as processes of the loopback interface."""
