"""Ceremonies: keys generated, split, dealt anew and repaired, by files that holders exchange."""
