"""Instruction profiles: cycles by opcode, class and loop (spec §6.4)."""
