"""Shared by all memory models: lists of accesses, regimes, the transfer in front of an engine, memo tables."""
