"""From predictions on held-out samples to a policy, and what may be promised of it."""
