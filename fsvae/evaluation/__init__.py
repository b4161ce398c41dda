"""The comparison of models: the protocol, the metrics, the report."""
