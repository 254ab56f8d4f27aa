"""Wall time of engine and static network: worker processes that take turns, and paired ratios."""
