"""What every memory model shares: lists of accesses, regimes, the transfer in front of an engine, memo tables."""
