"""Shares of a BLS key, partial signatures, and how they combine. Pure: no I/O, no clock."""
