"""From the values of a point to its specification, and every check that can be made before a point runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..boards.dram_schema import to_dram
from ..boards.loader import read_document
from ..boards.schema import to_board
from ..config.hardware import hardware_of
from ..config.settings import parse_settings, with_hbm_size
from ..errors import EmuError, UsageError
from ..request import RunRequest
from . import variants
from .fingerprint import emulator_fingerprint
from .keys import BOARD, BUILD, DRAM, KEYS, MODEL, PROFILE, in_keys, key_of
from .points import Point, assignments, make_point
from .program_checks import check_programs
from .snapshots import (
    SETTINGS,
    Snapshot,
    canonical,
    snapshot_build,
    snapshot_config,
    snapshot_document,
    snapshot_file,
)
from .study import Study
from .values import Value

_KINDS = {BOARD: "board", PROFILE: "latency profile", DRAM: "DRAM description"}
_NUMBERS = ("ddr_capacity", "host_bandwidth", "clock_mhz", "ddr_speed", "hbm_size", "hbm_channels")


class Specifier:
    """Makes points of a study's values; reads each input once.

    Parameters
    ----------
    environ : mapping
        For the search order of settings (§5.3).

    Attributes
    ----------
    snapshots : dict of str to Snapshot
        Inputs by hash: whoever runs the points needs them.
    """

    def __init__(self, environ: Mapping[str, str] | None = None):
        self._environ = os.environ if environ is None else environ
        self.snapshots: dict[str, Snapshot] = {}
        self._named: dict[tuple[str, str], dict[str, str]] = {}
        self._checked: set[object] = set()
        self.emulator = emulator_fingerprint()

    def points(self, study: Study) -> list[Point]:
        """Make every point of a study.

        Returns
        -------
        list of Point
            Each once: combinations that say the same are one point.

        Raises
        ------
        EmuError
            An input is missing or malformed, or a value makes no sense; `UsageError` where there is no point.
        """
        found: dict[str, Point] = {}
        for values in assignments(study):
            point = self.point(values)
            found.setdefault(point.id, point)
        if not found:
            raise UsageError("where: leaves no point, expected conditions that some combination keeps")
        points = list(found.values())
        check_programs(points)
        return points

    def point(self, values: dict[str, Value]) -> Point:
        """Make a point of the values of its keys; every value is checked when it is first seen."""
        return make_point(values, self._specification(values), self.emulator)

    def _specification(self, values):
        dotted = _by_document(values)
        made: dict = {"program": self._program(values, dotted["settings"])}
        free = {key: value for key, value in dotted["settings"].items() if key not in variants.GEOMETRY}
        if free:
            made["settings"] = free
        if BOARD in values or dotted["board"]:
            made["board"] = self._document(BOARD, values, dotted["board"])
        if PROFILE in values:
            made[PROFILE] = self._reference(PROFILE, values[PROFILE])
        if DRAM in values or dotted["dram"]:
            made["dram"] = self._dram(values, dotted)
        if values.get("timing", "serial") != "serial":
            made["timing"] = self._timing(values["timing"])
        made["run"] = {key: value for key, value in values.items()
                       if key_of(key).scope == "run" and key not in (BOARD, PROFILE, DRAM, "timing")}
        self._check_settings(values, free)
        self._check_request(values, dotted)
        return made

    def _program(self, values, settings):
        if BUILD in values:
            return {"build": self._named_once(BUILD, values[BUILD], lambda: self._keep(
                snapshot_build(values[BUILD], self._environ)))["file"]}
        from ..models.options import DEFAULT_PREFILL
        from ..models.presets import DEFAULT_PRESET

        options = {key: value for key, value in values.items() if key_of(key).scope == "compile"}
        geometry = {key: value for key, value in settings.items() if key in variants.GEOMETRY}
        preset = options.setdefault("preset", DEFAULT_PRESET)
        if geometry:
            options["preset"] = variants.preset_with(preset, geometry)
        if "past" not in options and options.get("part") != "vision":
            options.setdefault("prefill", DEFAULT_PREFILL)
        reference = self._model(values[MODEL])
        self._check_options(values[MODEL], options)
        return {"model": reference, "options": options}

    def _model(self, name):
        def refer():
            from ..models.sources import find_model

            find_model(name)
            return self._keep(snapshot_config(name)) if os.path.exists(name) else {"name": name}

        return self._named_once(MODEL, name, refer)

    def _check_options(self, name, options):
        """Refuse what the compiler would: options of the wrong kind, a preset or a layer that there is not."""
        self._check_once(("options", name, canonical(options)), _check_options, name, options)

    def _document(self, key, values, changes):
        """Reference to a board with its changed keys."""
        if key not in values:
            raise UsageError(f"{key}.{next(iter(changes))}: needs a {key}")
        made = {"base": self._reference(key, values[key])}
        if changes:
            made["set"] = changes
            for change in changes.items():
                self._check_once(("board key", values[key], change), self._check_board, values[key], dict([change]))
        return made

    def _dram(self, values, dotted):
        """Reference to a DRAM with its changed keys; without a name it is the board's."""
        made: dict = {"base": self._reference(DRAM, values[DRAM]) if DRAM in values else None}
        if dotted["dram"]:
            made["set"] = dotted["dram"]
            for change in dotted["dram"].items():
                mark = ("dram key", values.get(DRAM), values.get(BOARD), change)
                self._check_once(mark, self._check_dram, values, dict([change]))
        return made

    def _check_board(self, name, changes):
        source, data = read_document("board", name)
        told = f"{name} with {_told('board', changes)}"
        part = to_board(variants.with_keys(data, changes, "board"), told).memory.dram
        if "memory.dram" in changes and part is not None:
            from ..boards.dram_schema import load_dram

            is_name = os.sep not in part and not part.endswith((".yaml", ".yml"))  # else a path from the board's file
            load_dram(part if is_name else os.path.join(os.path.dirname(source), part))

    def _check_dram(self, values, changes):
        name = values.get(DRAM) or self._part_of(values.get(BOARD))
        if name is None:
            raise UsageError(f"dram.{next(iter(changes))}: needs a dram, or a board that names one")
        source, data = read_document("DRAM description", name)
        to_dram(variants.with_keys(data, changes, "dram"), f"{name} with {_told('dram', changes)}")

    @staticmethod
    def _part_of(board):
        """Name or path of the DRAM of a board; None without one."""
        if board is None:
            return None
        from ..boards.dram_schema import dram_names

        source, data = read_document("board", board)
        part = to_board(data, source).memory.dram
        return part if part is None or part in dram_names() else os.path.join(os.path.dirname(source), part)

    def _reference(self, key, name):
        """A name that ships, or the hash of a file; the content is checked."""
        def refer():
            from ..boards import load_board
            from ..boards.dram_schema import load_dram

            if key == BOARD:
                load_board(name)
            elif key == DRAM:
                load_dram(name)
            if os.sep in name or name.endswith((".yaml", ".yml")):
                return self._keep(snapshot_document(_KINDS[key], name)) | {"as": os.path.basename(name)}
            read_document(_KINDS[key], name)
            return {"name": name}

        return self._named_once(key, name, refer)

    def _timing(self, name):
        def refer():
            from ..boards.timing_schema import load_timing

            load_timing(name)
            if os.path.exists(name):
                return self._keep(snapshot_file(name)) | {"as": os.path.basename(name)}
            return {"name": name}

        return self._named_once("timing", name, refer)

    def _named_once(self, kind, name, refer: Callable[[], dict]):
        if (kind, name) not in self._named:
            self._named[kind, name] = refer()
        return self._named[kind, name]

    def _keep(self, made):
        self.snapshots[made.digest] = made
        return {"file": made.digest}

    def _check_once(self, mark, check, *arguments):
        if mark not in self._checked:
            check(*arguments)
            self._checked.add(mark)

    def _check_settings(self, values, free):
        """Check keys of the settings and, for a build, the file with each of them."""
        for key in _by_document(values)["settings"]:
            variants.check_settings_key(key, MODEL in values, BOARD in values)
        is_hardware = values.get("timing", "serial") != "serial" or values.get("dma") == "production"
        for key, value in free.items():
            mark = ("settings", values.get(BUILD), key, value, is_hardware)
            self._check_once(mark, self._check_setting, values, key, value, is_hardware)

    def _check_setting(self, values, key, value, is_hardware):
        if BUILD in values:
            text = self.snapshots[self._named[BUILD, values[BUILD]]["file"]].files[SETTINGS].decode(errors="replace")
            parse_settings(text, values[BUILD], "build directory")
        else:
            from ..models.presets import DEFAULT_PRESET, find_preset, settings_text

            text = settings_text(find_preset(values.get("preset", DEFAULT_PRESET)), 1 << 30)
        text = variants.settings_with(text, {key: value})
        replaced = ("HBM_SIZE", *(["HBM_CHANNELS"] if "hbm_channels" in values else []))
        settings = parse_settings(text, f"with settings.{key} {value}", "sweep", is_hardware, replaced)
        if is_hardware and "hbm_channels" not in values:
            hardware_of(with_hbm_size(settings, 1 << 30))  # that of the run is not known here

    def _check_request(self, values, dotted):
        """Refuse what a run would refuse of its flags alone, once for each combination of what is no number."""
        fields = {key: value for key, value in values.items() if KEYS.get(key) and KEYS[key].scope == "run"}
        mark = ("request", canonical({key: None if key in _NUMBERS else value for key, value in fields.items()}))
        self._check_once(mark, _check_fields, {key: value for key, value in fields.items() if key != "ddr_speed"})
        for key in _NUMBERS:
            if key in fields:
                self._check_once((mark, key, fields[key]), _check_fields, fields, key)
        if PROFILE in fields:
            self._check_once(("profile", fields.get(BOARD), fields[PROFILE]), _check_profile, fields)


def _check_options(name, options):
    from ..models.options import CompileOptions
    from ..models.presets import find_preset
    from ..models.sources import find_model

    try:
        chosen = CompileOptions(**options)
    except UsageError as error:
        raise UsageError(in_keys(str(error))) from None
    find_preset(chosen.preset)
    config = find_model(name).part(chosen.part)
    if chosen.layers is not None and chosen.layers > config.layers:
        raise UsageError(f"layers: found {chosen.layers}, expected at most {config.layers}, those of {name}")


def _check_fields(fields, key=None):
    try:
        RunRequest(opcode="program", timing_only=True, dump_dir=None, **fields)
    except EmuError as error:
        told = str(error)
        is_named = told.startswith("--") or told.partition(":")[0].partition(" ")[0] in KEYS
        named = "" if key is None or is_named else f"{key}: "
        raise UsageError(f"{named}{error}") from None


def _check_profile(fields):
    from ..boards import load_board

    load_board(fields[BOARD], fields[PROFILE])


def _by_document(values):
    """Keys with a dot, by their document and without its name."""
    found: dict[str, dict[str, Value]] = {"board": {}, "dram": {}, "settings": {}}
    for key, value in values.items():
        document, dot, rest = key.partition(".")
        if dot:
            found[document][rest] = value
    return found


def _told(document, changes):
    return ", ".join(f"{document}.{key} {value}" for key, value in changes.items())
