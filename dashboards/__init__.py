"""What a person watches: Grafana boards and the web console."""
