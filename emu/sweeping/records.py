"""Records of points: one line of JSON each, which says of itself whether it is whole."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..manifests.footprint import Footprint
from .fingerprint import emulator_fingerprint
from .snapshots import digest_of

FORMAT = "plena-emu point 1"
# Parts of a run's record that depend on the host, or on who asked for it.
_HOST = ("format", "command", "sources", "memo", "stages", "overlap", "timeline", "dumps", "dump_errors", "wall",
         "instructions_per_s", "versions")
FailureKind = Literal["error", "died", "internal"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a point has no result: `error` is the run's own line, `died` that its workers did, `internal` our mistake."""

    kind: FailureKind
    message: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a point.

    Attributes
    ----------
    id : str
    emulator : str
        Fingerprint of what made the result.
    specification : dict
        The full configuration, inputs by hash.
    result : dict or None
        The record of `plena-emu run` without what the host decides, and with `footprint`: bytes of the regions.
    failure : Failure or None
    versions : dict
        Of what ran it; no result depends on them.
    """

    id: str
    emulator: str
    specification: dict[str, Any]
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    versions: dict[str, str] = {}
    format: str = FORMAT


class _Line(msgspec.Struct, kw_only=True):
    digest: str
    record: msgspec.Raw


def result_record(identity: str, specification: dict, run: dict, sizes: Footprint) -> bytes:
    """Write the record of a point that ran.

    Parameters
    ----------
    run : dict
        The record of the run as plain values.
    sizes : Footprint
        Bytes of the regions.

    Returns
    -------
    bytes
        A line.
    """
    kept = {key: value for key, value in run.items() if key not in _HOST}
    kept["program"] = {key: value for key, value in kept["program"].items() if key != "path"}
    kept["footprint"] = {"weight": sizes.weight, "kv": sizes.kv, "activation": sizes.activation}
    return encode(Record(id=identity, emulator=emulator_fingerprint(), specification=specification, result=kept,
                         versions=run["versions"]))


def failure_record(identity: str, specification: dict, message: str, kind: FailureKind = "error") -> bytes:
    """Write the record of a point that failed; returns a line."""
    from ..running.provenance import versions

    return encode(Record(id=identity, emulator=emulator_fingerprint(), specification=specification,
                         failure=Failure(kind=kind, message=message), versions=versions()))


def encode(record: Record) -> bytes:
    """Write a record as a line with a hash over it; equal records are equal bytes."""
    body = msgspec.json.encode(record)
    return b'{"digest":"%s","record":%s}\n' % (digest_of(body).encode(), body)


def decode(line: bytes) -> Record | None:
    """Read a line of the store.

    Returns
    -------
    Record or None
        None where it is not what was written.
    """
    try:
        found = msgspec.json.decode(line, type=_Line)
        if digest_of(bytes(found.record)) != found.digest:
            return None
        record = msgspec.json.decode(found.record, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if record.format == FORMAT else None


def identity_of(line: bytes) -> str | None:
    """Read whose line it is, and that it is whole; None where it is not."""
    try:
        found = msgspec.json.decode(line, type=_Line)
        if digest_of(bytes(found.record)) != found.digest:
            return None
        return msgspec.json.decode(found.record, type=_Identity).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Identity(msgspec.Struct):
    id: str
