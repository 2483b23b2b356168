"""PKCS#11: profiles, discovery, PINs, sessions, token keys. The only room that knows pkcs11.

The ladder: `load_profile` → `load_module` → `find_token` → `require_profile` → `open_session` →
`receiving_key` or `identity_key`. Nothing is imported here: a worker that lives 100 ms imports what
it uses.
"""
