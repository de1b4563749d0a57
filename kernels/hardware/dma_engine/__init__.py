"""Production DMA: the lines of a transfer, each once, and their time on a memory (spec §7.2-§7.4, §7.12)."""
