"""Predictions of all exits, signals and policies: array API, no torch."""
