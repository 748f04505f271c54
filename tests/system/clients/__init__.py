"""The real clients, one module per dialect, each behind `answers.Client`."""
