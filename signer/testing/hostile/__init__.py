"""A PKCS#11 module that misbehaves on demand, in front of a real one."""
