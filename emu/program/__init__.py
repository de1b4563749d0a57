"""From words or assembly text to a decoded program, and back (spec §1.2, §1.3)."""
