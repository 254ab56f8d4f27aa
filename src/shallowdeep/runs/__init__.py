"""What a run directory holds: settings, splits, preparation, provenance, files."""
