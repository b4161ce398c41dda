"""The life cycle of a model: training, evaluation, promotion, records, and the daily job."""
