"""From a name or a path to batches: sources, splits, augmentation, loading."""
