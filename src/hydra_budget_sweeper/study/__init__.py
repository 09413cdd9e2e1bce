"""The Optuna study of a sweep: where it is kept and what its trials amount to."""
