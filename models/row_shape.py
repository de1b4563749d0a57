"""How many vector SRAM rows the activations of a request have (spec §9.2, §9.4)."""

from __future__ import annotations

from .machine import Machine, ceil_div, round_up


class RowShape:
    """Rows of `tokens` new tokens of `batch` sequences behind `past` cached ones.

    Attributes
    ----------
    decode : bool
        One token a sequence behind a cache: sequences follow one another row by row.
    sequence_rows : int
        Rows of a sequence, whole groups of BLEN but in a decode step.
    rows, groups : int
        Rows of an activation, whole groups of BLEN rows, and these groups.
    used, normed : int
        Rows that row-wise operators do, and norms.
    keys, key_blocks : int
        Keys of a sequence, and the blocks of MLEN that hold them.
    cache_rows : int
        Rows a sequence has in the stored cache: SV − 1 spare ones behind the new token, whole MLEN.
    """

    def __init__(self, machine: Machine, *, batch: int, tokens: int, past: int = 0):
        self.batch, self.tokens, self.past = batch, tokens, past
        self.decode = past > 0
        if self.decode:
            self.sequence_rows = 1
            self.rows = round_up(batch, machine.blen)
            self.used = self.normed = batch
        else:
            self.sequence_rows = round_up(tokens, machine.blen)
            self.rows = batch * self.sequence_rows
            self.used = tokens if batch == 1 else self.rows
            self.normed = self.rows
        self.groups = self.rows // machine.blen
        self.keys = past + tokens
        self.key_blocks = ceil_div(self.keys, machine.mlen)
        self.cache_rows = round_up(self.keys + machine.write_back, machine.mlen)
