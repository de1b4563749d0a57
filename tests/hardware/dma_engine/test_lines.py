"""The line planner against the oracle of spec §7.2, §7.3: any packing, overlap, wrap of rows and of addresses."""

from hardware_memory import descriptor_of, plan_of
from hypothesis import example, given
from hypothesis import settings as configure
from hypothesis import strategies as st
from oracle.hardware.lines import Packing, pieces, plan

from plena_emu.kernels.hardware.dma_engine.lines import plan_pieces

U64 = 2**64 - 1
U32 = 2**32


@st.composite
def transfers(draw):
    """(packing, elements a row, rows, base, offset, step, scale, store); every figure a whole number of bytes."""
    bits = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    block = draw(st.sampled_from([0, 8, 16, 64]))
    scale_bits = draw(st.sampled_from([8, 16] if block else [0]))
    unit = max(8, block)
    n = unit * draw(st.integers(1, 6))
    rows = draw(st.integers(1, 12))
    far = st.integers(0, U32 // unit - 1)
    step = unit * draw(st.one_of(st.just(n // unit), st.integers(0, 12), far))
    offset = unit * draw(st.one_of(st.integers(0, 40), far))
    scale = 8 * draw(st.one_of(st.integers(0, 300), st.integers(0, U32 // 8 - 1)))
    base = draw(st.one_of(st.integers(0, 5000), st.integers(2**63 - 9000, 2**63 + 9000), st.integers(U64 - 9000, U64)))
    return Packing(bits, scale_bits, block), n, rows, base, offset, step, scale, draw(st.booleans())


def byte_addresses(packing, base, offset, scale):
    """Bytes of the first element and the first scale, as control gives them (§7.2)."""
    index = base + offset * packing.bits // 8 & U64
    if not packing.block:
        return index, index
    scales = (scale * packing.bits // 8 + offset // packing.block * packing.scale_bits // 8) % U32
    return index, base + scales & U64


@given(transfers())
@example((Packing(8), 64, 3, U64 - 100, 0, 64, 0, True))  # passes the last address
@example((Packing(8, 8, 8), 64, 4, 0, 0, 64, 16, True))  # scales within the elements
@example((Packing(8, 8, 8), 64, 4, 8192, 0, U32 - 64, 0, False))  # rows in descending order
@configure(max_examples=300, deadline=None)
def test_lines_are_those_of_the_oracle(transfer):
    packing, n, rows, base, offset, step, scale, store = transfer
    expected = plan(pieces(packing, n, rows, base, offset, step, scale), store)
    descriptor = descriptor_of(rows, n, packing.bits, packing.scale_bits, packing.block, store)
    reads, writes = plan_of(descriptor, *byte_addresses(packing, base, offset, scale), step)
    assert tuple(reads) == expected.reads
    assert tuple(writes) == expected.writes


def test_contiguous_rows_are_covered_as_one_range():
    reads, writes = plan_of(descriptor_of(4, 96, 8, store=True), 0, 0, 96)
    assert reads == [] and writes == [64 * k for k in range(6)]


def test_a_store_reads_the_lines_it_covers_in_part():
    reads, writes = plan_of(descriptor_of(1, 128, 8, 8, 16, store=True), 32, 4096, 128)
    assert reads == [0, 128, 4096] and writes == [0, 64, 128, 4096]


def test_pieces_that_meet_in_a_line_cover_it_together():
    # Elements [0, 96) and scales [96, 104), then [96, 128): the second line is covered in part, then completely.
    assert plan_of(descriptor_of(1, 96, 8, 8, 12, store=True), 0, 96, 96) == ([64], [0, 64])
    assert plan_of(descriptor_of(1, 96, 8, 8, 3, store=True), 0, 96, 96) == ([], [0, 64])
    # Scales below the elements, with a byte between them that nothing covers.
    assert plan_of(descriptor_of(1, 64, 8, 8, 2, store=True), 33, 0, 64) == ([0, 64], [0, 64])
    assert plan_of(descriptor_of(1, 64, 8, 8, 2, store=True), 32, 0, 64) == ([64], [0, 64])


def test_rows_share_the_lines_at_their_ends():
    # 48 bytes a row without a gap, then with one of 16 bytes, which no line is free of.
    assert plan_of(descriptor_of(4, 48, 8, store=True), 0, 0, 48) == ([], [0, 64, 128])
    assert plan_of(descriptor_of(4, 48, 8, store=True), 0, 0, 64) == ([0, 64, 128, 192], [0, 64, 128, 192])
    assert plan_of(descriptor_of(2, 64, 8), 32, 0, 96) == ([0, 64, 128], [])


@given(transfers())
@configure(max_examples=100, deadline=None)
def test_transfers_that_ascend_are_planned_like_any_other(transfer):
    packing, n, rows, base, offset, step, scale, store = transfer
    descriptor = descriptor_of(rows, n, packing.bits, packing.scale_bits, packing.block, store)
    places = *byte_addresses(packing, base, offset, scale), step
    assert plan_of(descriptor, *places) == plan_of(descriptor, *places, plan_pieces)
