"""BLS12-381 for Ethereum, and how its keys are stored. The only room that knows a curve library."""
