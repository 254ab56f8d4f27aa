"""Pure functions of the predictions of all exits."""
