"""Where datasets come from: one file per layout, and `registry` to find the one that a name or a path means."""
