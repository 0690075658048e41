"""What runs around the flights: containers, Prometheus with its alert rules, Grafana with its dashboards."""
