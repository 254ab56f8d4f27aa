"""Audits of runs, put together from the pieces."""
