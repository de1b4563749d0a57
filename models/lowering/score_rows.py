"""How the scores of one query head lie in the vector SRAM between scores, softmax and values."""

from __future__ import annotations

import msgspec


class ScoreRows(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of a head: a row a query, one column block a block of MLEN keys.

    Attributes
    ----------
    rows, real_rows : int
        Rows, a multiple of BLEN, and how many of them are queries.
    key_blocks : int
    causal : bool
        Query block i attends to the key blocks 0 … i, the last one masked by a triangle; else every query attends to
        every key block.
    block_step : int
        Elements from a row's part for one key block to that for the next.
    query_step : int
        Elements from one block of MLEN queries to the next.
    """

    rows: int
    real_rows: int
    key_blocks: int
    causal: bool
    block_step: int
    query_step: int

    def runs(self, count: int, mlen: int) -> list[tuple[int, int]]:
        """Split the first `count` rows where they stop following one another: (times, rows), a query block apart.

        Returns
        -------
        list of (times, rows)
        """
        if self.query_step == mlen * mlen and not self.causal:
            return [(1, count)]
        whole, rest = divmod(count, mlen)
        return [(whole, mlen)] * (whole > 0) + [(1, rest)] * (rest > 0)

    def chunks(self, capacity: int) -> list[tuple[int, int, int]]:
        """Split the key blocks into chunks of at most `capacity`, which the matrix SRAM holds at a time.

        Returns
        -------
        list of (times, first, count)
            `times` chunks of `count` key blocks one after the other, the first one from key block `first` on. With
            `causal` each chunk is an entry of its own, because fewer queries see it than the one before.
        """
        whole, rest = divmod(self.key_blocks, capacity)
        if self.causal:
            found = [(1, chunk * capacity, capacity) for chunk in range(whole)]
        else:
            found = [(1, 0, capacity)] * (whole > 0) + [(whole - 1, capacity, capacity)] * (whole > 1)
        return found + [(1, whole * capacity, rest)] * (rest > 0)
