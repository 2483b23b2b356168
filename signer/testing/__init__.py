"""Ready pools on SoftHSM: for demo, tests and benchmarks, and by a pytest plugin for our users."""
