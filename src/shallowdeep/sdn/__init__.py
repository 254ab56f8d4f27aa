"""Conversion of a backbone into a Shallow-Deep Network."""
