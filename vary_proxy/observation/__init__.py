"""What looks at the traffic: logs, metrics, traces, probes, and explanations."""
