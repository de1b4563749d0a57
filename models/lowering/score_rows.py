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
