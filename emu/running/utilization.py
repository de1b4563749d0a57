"""The utilization figure of the statistics line: bytes a second over the run (spec §3.10).

`plena_emu.result.hbm_statistics` writes the line; the bytes are counted in `kernels.memory.transfer`.
How busy units and the systolic array are is another figure: `plena_emu.running.timeline`, `plena_emu.result`.
"""


def utilization(bytes_read: int, bytes_written: int, end_ps: int) -> float:
    """Work out the bytes a second over the run (§3.10); 0 for a run that ends at time 0.

    Returns
    -------
    float
    """
    return (bytes_read + bytes_written) / (end_ps / 1e12) if end_ps else 0.0
