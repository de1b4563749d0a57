"""The idealised DDR banks of boards: SimpleTiming in the specification (spec §3.5)."""
