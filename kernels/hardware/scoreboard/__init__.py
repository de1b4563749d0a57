"""The scoreboard: where each executed instruction sits if the units run side by side (spec §7.6-§7.9)."""
