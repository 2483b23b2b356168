"""A hardware-backed threshold BLS12-381 signer for pooled Ethereum withdrawal keys."""

__version__ = "0.1.0"
