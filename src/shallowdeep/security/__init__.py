"""Audits: is a network backdoored, can it be slowed down, and what do its exits know of it."""
