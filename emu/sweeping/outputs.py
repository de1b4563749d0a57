"""Files of a sweep: CSV, Parquet, JSON lines, and the one JSON record; all have every column of every point."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Callable

from ..errors import EmuError
from .results import SweepResult


def csv_bytes(result: SweepResult) -> bytes:
    """Write the rows as CSV with a line of names; None is an empty field.

    Returns
    -------
    bytes
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, result.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.records())
    return text.getvalue().encode(errors="surrogateescape")


def json_lines(result: SweepResult) -> bytes:
    """Write a JSON object a row, one a line.

    Returns
    -------
    bytes
    """
    return b"".join(json.dumps(record).encode() + b"\n" for record in result.records())


def parquet_bytes(result: SweepResult) -> bytes:
    """Write the rows as Parquet; a column that holds numbers and text becomes text. Needs pyarrow.

    Returns
    -------
    bytes
    """
    check_parquet("--parquet")
    import pyarrow
    import pyarrow.parquet

    records = result.records()
    columns = {name: _of_one_type([record[name] for record in records]) for name in result.columns}
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def _of_one_type(values):
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return [float(value) if kinds == {int, float} and value is not None else value for value in values]
    return [None if value is None else str(value) for value in values]


def check_parquet(what: str) -> None:
    """Raise `EmuError` where pyarrow is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise EmuError(f"{what} needs pyarrow, which is not installed: pip install pyarrow (the extra `sweep`)")


WRITERS: dict[str, Callable[[SweepResult], bytes]] = {
    "csv": csv_bytes, "parquet": parquet_bytes, "jsonl": json_lines,
}
