"""Ratios of CPU time within one run: ours against the bare calls of the same library."""
