"""The reference's SimpleTiming: idealised DDR banks (spec §3.5)."""
