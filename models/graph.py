"""The intermediate form: a short list of operators on named matrices, with their shapes (spec §9.2 - §9.4).

An operator names the buffers of the vector SRAM and the tensors of the HBM that it works on; `passes.place` gives them
addresses, `lowering` turns each operator into instructions. Rows count vector SRAM rows, columns elements.
"""

from __future__ import annotations

import msgspec


class Buffer(msgspec.Struct, frozen=True, kw_only=True):
    """A matrix in the vector SRAM: `blocks` column blocks of `rows` rows.

    `columns` is how many columns hold numbers. `alone` keeps its rows from being shared with other buffers, where
    padding has to stay 0. Rows of heads (`HeadRows`) are a buffer with one column block a part of a head.
    """

    name: str
    rows: int
    blocks: int
    columns: int
    alone: bool = False


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A matrix in the HBM with its padded shape; `kind` is `activation`, `cache` or `weight`."""

    name: str
    rows: int
    columns: int
    kind: str


class HeadRows(msgspec.Struct, frozen=True, kw_only=True):
    """How a buffer holds heads: a row a head and token, a column block a part of the head.

    In a prefill row head · tokens + token, in a decode step (`token_major`) row token · heads + head, so that the query
    heads of a KV head are the rows of one matrix. Packed heads count as one where they share a row.
    """

    buffer: str
    heads: int
    tokens: int
    parts: int
    token_major: bool

    @property
    def head_step(self) -> int:
        """Rows from a head to the next."""
        return 1 if self.token_major else self.tokens

    @property
    def token_step(self) -> int:
        """Rows from a token to the next."""
        return self.heads if self.token_major else 1

    def row(self, head: int, token: int = 0) -> int:
        """Find the row of a head's token in its column blocks.

        Returns
        -------
        int
        """
        return head * self.head_step + token * self.token_step


class HeadSpan(msgspec.Struct, frozen=True):
    """Heads `first` … `first` + `count` − 1 of `rows`; `columns` is what the last part of a head (or row) holds."""

    rows: HeadRows
    first: int
    count: int


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its stage name (§9.6) and layer, None outside layers."""

    stage: str
    layer: int | None = None

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the buffers it reads or writes."""
        return ()


class Norm(Operator, frozen=True, kw_only=True):
    """`out` ← RMSNorm of `rows` rows of `x` without the factor √width, times `weight` where given.

    `centred` makes it a LayerNorm: the mean is subtracted first, and `bias` added at the end; `columns` is a row of
    ones in the columns of the last block that hold numbers, None where all do.
    """

    x: str
    out: str
    rows: int
    width: int
    epsilon: float
    weight: str | None = None
    centred: bool = False
    bias: str | None = None
    columns: str | None = None

    @property
    def buffers(self):
        named = (self.x, self.out, self.weight, self.bias, self.columns, "scratch")
        return tuple(name for name in named if name)


class Linear(Operator, frozen=True, kw_only=True):
    """`out` ← `groups` groups of BLEN rows of `x`, from `first_row` on, times a tensor of `columns` real columns.

    The result is an activation, or with `span` rows of heads whose parts hold `part_columns` columns each. `bias` has a
    row a column block of the result.
    """

    x: str
    weight: str
    out: str
    groups: int
    rows: int
    columns: int
    first_row: int = 0
    span: HeadSpan | None = None
    part_columns: tuple[int, ...] = ()
    bias: str | None = None

    @property
    def buffers(self):
        return tuple(name for name in (self.x, self.out, self.bias, "partial") if name)


class HeadNorm(Operator, frozen=True, kw_only=True):
    """RMSNorm over head_dim of each head of a span, in place, times `weight`.

    `slots` heads share a row; `sections` then has a row a slot with ones in its lanes.
    """

    span: HeadSpan
    width: int
    slots: int
    tokens: int
    epsilon: float
    weight: str
    sections: str | None = None

    @property
    def buffers(self):
        return tuple(name for name in (self.span.rows.buffer, self.weight, self.sections) if name)


class Rope(Operator, frozen=True, kw_only=True):
    """Rotary positions for the rows of all heads, `tokens` of each of `sequences`.

    `rotation` is a tensor, or None where halves are whole column blocks; `half` is half of head_dim where a row is one
    head, else None.
    """

    heads: HeadRows
    rotated: str | None
    rotation: str | None
    tokens: int
    sequences: int
    half: int | None

    @property
    def buffers(self):
        return (self.heads.buffer, *((self.rotated,) if self.rotated else ()), "COS", "SIN", "partial")


class StoreRows(Operator, frozen=True, kw_only=True):
    """Rows of a span to the stored cache, `tokens` of each of `sequences` sequences from row `first_row` on."""

    span: HeadSpan
    cache: str
    sequences: int
    sequence_rows: int
    tokens: int
    first_row: int
    rows_per_sequence: int

    @property
    def buffers(self):
        return (self.span.rows.buffer,)


class Attend(Operator, frozen=True, kw_only=True):
    """Scores, softmax and values of all heads over the stored cache.

    `keys` counts tokens; `slots` heads share a row (1: heads fill their column blocks). With a `chunk` the softmax is
    online, and `scores` hold so many key blocks at a time; `state`, `sums` and `products` are its buffers, and a step
    does one of `shares` equal shares of a KV head's query heads. Without a `chunk`, `scores` hold all key blocks of a
    KV head.
    """

    q: HeadRows
    out: str
    k_cache: str
    v_cache: str
    sequences: int
    sequence_rows: int
    tokens: int
    keys: int
    causal: bool
    heads: int
    kv_heads: int
    head_dim: int
    slots: int
    rows_per_sequence: int
    scores: str
    mask: str | None
    chunk: int | None = None
    shares: int = 1
    state: str | None = None
    sums: str | None = None
    products: str | None = None

    @property
    def buffers(self):
        named = (self.q.buffer, self.out, self.scores, self.mask, self.state, self.sums, self.products)
        return tuple(name for name in named if name)


class Add(Operator, frozen=True, kw_only=True):
    """`x` ← `x` + `y`, `rows` rows of each column block."""

    x: str
    y: str
    rows: int

    @property
    def buffers(self):
        return self.x, self.y


class SwiGlu(Operator, frozen=True, kw_only=True):
    """`gate` ← silu(`gate`) · `up`, `rows` rows of each column block."""

    gate: str
    up: str
    rows: int

    @property
    def buffers(self):
        return self.gate, self.up


class Gelu(Operator, frozen=True, kw_only=True):
    """`x` ← GELU (tanh form) of `x`, `rows` rows of each column block."""

    x: str
    rows: int

    @property
    def buffers(self):
        return (self.x,)


class CopyRows(Operator, frozen=True, kw_only=True):
    """`out` ← `count` rows of `x` from `first_row` on, `step` rows apart, in every column block."""

    x: str
    out: str
    first_row: int
    step: int
    count: int

    @property
    def buffers(self):
        return self.x, self.out


class Shuffle(Operator, frozen=True, kw_only=True):
    """Pixel shuffle: row (i, j) of `out` ← the patches of the `scale` × `scale` square there, side by side (§9.1).

    `x` holds `side` × `side` patches row by row.
    """

    x: str
    out: str
    side: int
    scale: int

    @property
    def buffers(self):
        return self.x, self.out


class Graph(msgspec.Struct, kw_only=True):
    """A program before placement: operators in order, and what they work on.

    `preloads` are the buffers that `vram_preload.bin` fills, in its order. `results` are names of buffers that must
    survive to the end.
    """

    operators: list[Operator] = []
    buffers: dict[str, Buffer] = {}
    tensors: dict[str, Tensor] = {}
    preloads: list[str] = []
    kept: list[str] = []
