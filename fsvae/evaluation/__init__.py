"""How models are compared: the protocol, the metrics, the report."""
