"""Placement: addresses of buffers in the vector SRAM and of tensors in the HBM (spec §9.3)."""

from __future__ import annotations

import msgspec

from plena_emu.models.graph import Graph
from plena_emu.models.machine import Activation, HbmTensor, Machine, round_up

LINE = 64  # bytes: bases of tensors are multiples
_ORDER = ("activation", "cache", "weight")


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything lies: `rows` of the vector SRAM are used, `hbm_bytes` of the HBM."""

    activations: dict[str, Activation]
    tensors: dict[str, HbmTensor]
    rows: int
    hbm_bytes: int


def place(graph: Graph, machine: Machine) -> Placement:
    """Give every buffer and tensor an address.

    Preloads come first, in order. Buffers share rows where their lives, from the first operator that names them to the
    last, do not overlap. Tensors follow one another: activations, caches, weights.

    Returns
    -------
    Placement
        It may have more rows than the vector SRAM.
    """
    first_rows, rows = _place_buffers(graph)
    # Products read whole groups of rows, and broadcast products MLEN of them: those behind the last buffer too.
    rows += machine.mlen
    activations = {name: Activation(first_rows[name] * machine.mlen, buffer.rows, buffer.columns, machine.mlen)
                   for name, buffer in graph.buffers.items()}
    tensors, end = {}, 0
    for kind in _ORDER:
        for name, tensor in graph.tensors.items():
            if tensor.kind == kind:
                tensors[name] = HbmTensor(name, end, tensor.rows, tensor.columns)
                end = round_up(end + tensors[name].size, LINE)
    return Placement(activations=activations, tensors=tensors, rows=rows, hbm_bytes=end)


def _place_buffers(graph):
    """First rows by name, and the number of rows used."""
    lives = _lives(graph)
    first_rows, end = {}, 0
    for name in graph.preloads:
        first_rows[name] = end
        end += _height(graph, name)
    bottom = end
    placed = []  # (first row, end row, first operator, last operator)
    order = sorted((name for name in graph.buffers if name not in first_rows), key=lambda name: (lives[name][0], name))
    for name in order:
        begin, last = lives[name]
        height = _height(graph, name)
        row = bottom
        for low, high, start, stop in placed:
            if start <= last and begin <= stop and low < row + height:
                row = max(row, high)
        placed.append((row, row + height, begin, last))
        placed.sort()
        first_rows[name] = row
        end = max(end, row + height)
    return first_rows, end


def _height(graph, name):
    buffer = graph.buffers[name]
    return buffer.rows * buffer.blocks


def _lives(graph):
    """First and last operator of each buffer; those that stand alone live throughout, kept ones to the end."""
    end = len(graph.operators)
    whole = (0, end)
    lives = {name: whole for name, buffer in graph.buffers.items() if buffer.alone}
    for number, operator in enumerate(graph.operators):
        for name in operator.buffers:
            if name in graph.buffers and lives.get(name) is not whole:
                lives[name] = (lives.get(name, (number, number))[0], end if name in graph.kept else number)
    for name in graph.buffers:
        lives.setdefault(name, whole)
    return lives
