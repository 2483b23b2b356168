"""Ready pools on SoftHSM, for demo, tests and benchmarks. SoftHSM protects nothing."""
