"""Recipes and the loop that trains Shallow-Deep Networks."""
