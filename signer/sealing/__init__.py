"""Shares sealed to a token's key. Pure: the token's own step is an argument."""
