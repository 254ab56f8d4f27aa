"""Runtimes that run a network's segments, each a file of its own."""
