"""The store of a sweep: a directory with a record for each point, in files that are whole or not there.

A file holds the records that came together, one line each, under the hash of its content. So that two sweeps may write
at once, and a million points are not a million files. What was damaged since is told, and computed again: then the
sound records of a damaged file move to a file of their own, and the file is kept as `….jsonl.damaged`, unread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

from ..atomic_files import make_directory, write_whole
from ..errors import EmuError
from .fingerprint import emulator_fingerprint
from .records import Record, decode, identity_of
from .snapshots import digest_of

RECORDS, BUILDS, SEARCHES = "records", "builds", "searches"
_ENDING = ".jsonl"
_DAMAGED = ".damaged"  # behind the ending: nobody reads such a file any more
_KIND = "store record file"


class Store:
    """Records of points in a directory, or in memory alone.

    Parameters
    ----------
    directory : str or None
        Made where it is not there; None keeps everything in memory.
    warn : callable
        Called with a line where a record is damaged.

    Raises
    ------
    EmuError
        The directory cannot be made or read.
    """

    def __init__(self, directory: str | None, warn: Callable[[str], None] = lambda line: None):
        self.directory = directory
        self._warn = warn
        self._lines: dict[str, bytes] = {}
        self._read: set[str] = set()
        self._damaged: dict[str, list[bytes]] = {}  # sound lines by name of the file
        if directory is not None:
            if os.path.lexists(directory) and not os.path.isdir(directory):
                raise EmuError(f"store {directory}: found a file, expected a directory")
            make_directory(os.path.join(directory, RECORDS), "store")
            self.refresh()

    def __contains__(self, identity: str) -> bool:
        return identity in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def builds(self) -> str | None:
        """Directory for compiled models; None in memory."""
        return None if self.directory is None else os.path.join(os.path.abspath(self.directory), BUILDS)

    def get(self, identity: str) -> Record | None:
        """Look up the record of a point.

        Returns
        -------
        Record or None
        """
        line = self._lines.get(identity)
        return None if line is None else decode(line)

    def identities(self, beginning: str = "") -> Iterator[str]:
        """Yield the points whose hash begins so."""
        return (identity for identity in self._lines if identity.startswith(beginning))

    def add(self, lines: Iterable[bytes]) -> None:
        """Keep records, as lines, in one new file.

        Raises
        ------
        EmuError
            It cannot be written; nothing of it is there then.
        """
        fresh = {}
        for line in lines:
            identity = identity_of(line)
            if identity is None:
                raise ValueError("a record that is no whole line")
            fresh[identity] = line
        if self.directory is not None and fresh:
            self._write(fresh.values())
            self._mend()
        self._lines |= fresh

    def _write(self, lines):
        data = b"".join(lines)
        name = f"{digest_of(data)}{_ENDING}"
        write_whole(os.path.join(str(self.directory), RECORDS, name), data, "store")
        self._read.add(name)

    def _mend(self):
        """Give the sound records of damaged files a file of their own; what was damaged is being computed again."""
        while self._damaged:
            name, sound = self._damaged.popitem()
            if sound:
                self._write(sound)
            path = os.path.join(str(self.directory), RECORDS, name)
            with contextlib.suppress(OSError):  # another sweep has done it
                if not _is_whole(_lines_of(path)):  # what was just written may have the same name
                    os.rename(path, path + _DAMAGED)

    def refresh(self) -> None:
        """Read what other sweeps have written meanwhile.

        Raises
        ------
        EmuError
            A file cannot be read.
        """
        if self.directory is None:
            return
        folder = os.path.join(self.directory, RECORDS)
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(_ENDING))
            for name in names:
                if name not in self._read:
                    self._take(os.path.join(folder, name))
                    self._read.add(name)
        except OSError as error:
            raise EmuError(f"store {self.directory}: cannot read: {error.strerror}") from None

    def _take(self, path):
        """Read a file; lines that are not whole are told and left out, so that their points are run again."""
        try:
            lines = _lines_of(path)
        except FileNotFoundError:  # another sweep has mended it
            return
        sound = {line: identity for line in lines if (identity := identity_of(line)) is not None}
        for line, identity in sound.items():
            self._keep(identity, line)
        if not _is_whole(lines):
            damaged = sum(line not in sound for line in lines)
            self._damaged[os.path.basename(path)] = list(sound)
            what = f"{damaged} of {len(lines)} records are damaged" if lines else "found an empty file"
            self._warn(f"store {path}: {what}: their points run again, and then the file is kept as {_ENDING}{_DAMAGED}"
                       " and read no more")

    def _keep(self, identity, line):
        """A result comes before a failure that another sweep had."""
        before = self._lines.get(identity)
        if before is None or b'"failure":null' not in before:
            self._lines[identity] = line

    def forget_failures(self, all_kinds: bool = False) -> int:
        """Leave out points whose workers died, that had too little memory or failed inside, so that they run again.

        Parameters
        ----------
        all_kinds : bool
            Those whose run was refused as well.

        Returns
        -------
        int
            How many.
        """
        found = []
        for identity, line in self._lines.items():
            if b'"failure":null' in line:
                continue
            record = decode(line)
            if record and record.failure and (all_kinds or record.failure.kind != "error"):
                found.append(identity)
        for identity in found:
            del self._lines[identity]
        return len(found)

    def of_this_emulator(self) -> list[Record]:
        """List the records that this emulator made, by hash."""
        mine = emulator_fingerprint()
        records = (self.get(identity) for identity in sorted(self._lines))
        return [record for record in records if record is not None and record.emulator == mine]


def _lines_of(path):
    with open(path, "rb") as file:
        return file.read().splitlines(keepends=True)


def _is_whole(lines):
    return bool(lines) and all(identity_of(line) is not None for line in lines)
