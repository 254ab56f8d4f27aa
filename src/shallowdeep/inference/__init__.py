"""Calibrated early exits, and engines that run them."""
