"""Engines that run early exits, and the bundles they run."""
