"""The control pass: integer registers, loops, addresses and bounds; it resolves events for the other passes."""
