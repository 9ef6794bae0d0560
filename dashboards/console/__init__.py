"""The web console: live alerts and latest values for a control room."""
