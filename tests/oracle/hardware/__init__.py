"""Oracle of the hardware timing of spec chapter 7, in plain Python: slow, and nothing of the package in it.

`lines` plans the 64-byte lines of a DMA (§7.2, §7.3), `channels` times a batch of them (§7.4), `machine` runs a
program with both, `scoreboard` places what it executed (§7.6-§7.9), `reports` counts and prints it (§7.11).
"""
