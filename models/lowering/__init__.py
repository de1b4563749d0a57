"""From operators to instructions: one file an operator, each written with the builder (spec §9.4)."""
