"""The data pass: tiles, rows, floating-point registers, MX blocks."""
