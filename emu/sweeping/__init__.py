"""Sweeps and searches: many configurations, each a timing-only run, on a machine's cores or a cluster (docs/sweep.md).

`study` says what varies, `points` multiplies it out, `worker` runs points, `local` and `cluster` are the two engines,
`store` keeps what was found, `results` shows it, and `search` asks an optimiser which point comes next.
"""
