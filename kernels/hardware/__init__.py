"""Hardware timing: the production DMA and the scoreboard of the rtl-v1 timeline (spec chapter 7)."""
