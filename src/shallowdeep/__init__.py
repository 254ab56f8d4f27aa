"""Networks that stop thinking when they have understood."""
