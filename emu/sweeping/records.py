"""Records of points: one line of JSON each, which says of itself whether it is whole."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from ..manifests.footprint import Footprint
from .fingerprint import emulator_fingerprint
from .snapshots import DIGEST, digest_of

FORMAT = "plena-emu point 1"
# Parts of a run's record that depend on the host, or on who asked for it.
_HOST = ("format", "command", "sources", "memo", "stages", "overlap", "timeline", "dumps", "dump_errors", "wall",
         "instructions_per_s", "versions")
FailureKind = Literal["error", "died", "memory", "internal"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a point has no result: `error` is the run's own line, `died` that its workers did, `memory` that this machine
    had too little, `internal` our mistake. All but `error` run again in the next sweep.
    """

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


# A line of the store: this, the hash, this, the record, this. The record begins with its id.
_BEGIN, _MIDDLE, _END = b'{"digest":"', b'","record":', b"}\n"
_BODY = len(_BEGIN) + DIGEST + len(_MIDDLE)
_ID = b'{"id":"'


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
    return b"".join((_BEGIN, digest_of(body).encode(), _MIDDLE, body, _END))


def decode(line: bytes) -> Record | None:
    """Read a line of the store.

    Returns
    -------
    Record or None
        None where it is not what was written.
    """
    body = _body(line)
    if body is None:
        return None
    found = json.loads(body)
    if found["format"] != FORMAT:
        return None
    failure = found.pop("failure")
    return Record(**found, failure=Failure(**failure) if failure else None)


def identity_of(line: bytes) -> str | None:
    """Read whose line it is; None where it is not what was written."""
    body = _body(line)
    return None if body is None else body[len(_ID) : body.index(b'"', len(_ID))].decode()


def _body(line):
    """The record of a line that is whole."""
    digest = line[len(_BEGIN) : len(_BEGIN) + DIGEST]
    if not line.startswith(_BEGIN) or line[len(_BEGIN) + DIGEST : _BODY] != _MIDDLE or not line.endswith(_END):
        return None
    body = line[_BODY : -len(_END)]
    return body if digest_of(body).encode() == digest and body.startswith(_ID) else None
