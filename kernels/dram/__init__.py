"""The DRAM controller: front end, channels, banks, FR-FCFS (spec chapter 4)."""
