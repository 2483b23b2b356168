"""A non-destructive run of known-answer tests on any token, and what follows from it.

`steps`, `facts`, `report`, `verdict` and `draft` are pure: what was seen, and what it means.
`bench`, `seals`, `origins`, `logins` and `run` do it on a token, in the worker. Nothing is
imported here.
"""
