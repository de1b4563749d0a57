"""A testbench's build directory (spec §5.6) as part of a run request."""

import os

from ..errors import EmuError, UsageError
from ..inputs.choices import DEFAULT_MODEL
from ..inputs.words import flag_of
from .units import read_hbm_size

ALWAYS, WITH_DATA, NEVER = "always", "with data", "never"  # when a run needs a file
RESULTS = "results.json"  # of a compiled model (§9.3)
ADDRESSES = "hbm_addrs.json"  # where the tensors lie (§6.3)
SETTINGS = "plena_settings.toml"
TABLES = (ADDRESSES, "hbm_sizes.json", "tensor_layouts.json")  # they also name the regions of a run
PROGRAM = "generated_machine_code.mem"
ASSEMBLY = "generated_asm_code.asm"  # its comments name stages where `STAGES` does not
STAGES = "stages.json"  # of a compiled model (§9.6)
HBM_SIZE = "hbm_size.txt"
READ_BESIDE = (STAGES, ASSEMBLY, *TABLES, HBM_SIZE)  # what a run reads of a build directory without a flag for it
ORIGIN = "build directory"  # of settings that were found there
BESIDE = "beside the program"  # of settings that were found there


class BuildFile:
    """A file of a build directory, the flag it stands for and the field of `RunRequest` it fills."""

    def __init__(self, flag, name, needed=NEVER, field=None):
        self.flag = flag
        self.name = name
        self.needed = needed
        self.field = field or flag

    def is_needed(self, timing_only: bool) -> bool:
        """Tell whether a run cannot do without it."""
        return self.needed == ALWAYS or (self.needed == WITH_DATA and not timing_only)


BUILD_FILES = (
    BuildFile("opcode", PROGRAM, ALWAYS),
    BuildFile("hbm", "hbm_for_behave_sim.bin", WITH_DATA),
    BuildFile("fpsram", "fp_sram.bin", WITH_DATA),
    BuildFile("intsram", "int_sram.bin"),
    BuildFile("vram", "vram_preload.bin"),
    BuildFile("settings", SETTINGS, field="settings_path"),
    BuildFile("weight_manifest", "weight_manifest.json"),
)


def build_of(opcode: str) -> str | None:
    """Find the build directory (§5.6) that machine code lies in, by its name; None for a program on its own.

    Returns
    -------
    str or None
    """
    folder, name = os.path.split(opcode)
    return (folder or ".") if name == PROGRAM else None


def files_of_build(directory: str) -> list[tuple[str, str]]:
    """List the files of a build directory that are read, whether they are there or not: (name, path).

    Returns
    -------
    list of (str, str)
    """
    names = [*(file.name for file in BUILD_FILES), RESULTS, *READ_BESIDE]
    return [(name, os.path.join(directory, name)) for name in names]


def fields_of(directory: str, given: dict) -> dict:
    """Collect fields of a `RunRequest`: those of `given` that are not None, below them what the directory holds.

    Returns
    -------
    dict

    Raises
    ------
    EmuError
        There is no such directory, or it lacks a file the run needs.
    """
    if not directory or "\0" in directory:
        raise UsageError(f"build directory: found {directory!r}, expected a path")
    if not os.path.isdir(directory):
        what = "not a directory" if os.path.exists(directory) else "not found"
        raise EmuError(f"build directory {directory}: {what}")
    fields = {name: value for name, value in given.items() if value is not None}
    called = flag_of if fields.get("from_flags") else str
    model = fields.get("memory_model", None if "board" in fields else DEFAULT_MODEL)
    for file in BUILD_FILES:
        path = os.path.join(directory, file.name)
        if file.field in fields:
            continue
        if os.path.lexists(path):
            fields[file.field] = path
        elif file.is_needed(fields.get("timing_only", False)):
            raise EmuError(f"build directory {directory}: {file.name} not found, expected there or as"
                           f" {called(file.field)}")
    results = os.path.join(directory, RESULTS)
    if "results" not in fields and os.path.lexists(results):
        fields["results"] = results
    for field in ("settings_path", "weight_manifest"):
        if given.get(field) is None and field in fields:
            fields.setdefault(f"{field.removesuffix('_path')}_origin", ORIGIN)
    size_file = os.path.join(directory, HBM_SIZE)
    if "hbm_size" not in fields and os.path.lexists(size_file):
        fields["hbm_size"], fields["hbm_size_origin"] = read_hbm_size(size_file), size_file
    if not (isinstance(model, str) and model == "hbm") and "weight_manifest" not in fields:
        if model is not None:
            _check_tables(directory, fields, called)
        if os.path.lexists(os.path.join(directory, ADDRESSES)):
            fields["tables_dir"] = directory
    return fields


def settings_beside(program: str, given: dict) -> dict:
    """Add the settings file that lies beside a program, as in a build directory, where none is given.

    It comes before `$PLENA_SETTINGS_TOML` and `../plena_settings.toml`, as a build directory's does.

    Parameters
    ----------
    program : str
        Path of machine code or assembly that was named in place of a build directory.
    given : dict
        Fields of a `RunRequest`.

    Returns
    -------
    dict
    """
    path = os.path.join(os.path.dirname(program), SETTINGS)
    if given.get("settings_path") is not None or not os.path.lexists(path):
        return given
    return given | {"settings_path": path, "settings_origin": BESIDE}


def _check_tables(directory, fields, called):
    """Check that the directory's tables can stand in for a weight manifest that is not there."""
    missing = (f"build directory {directory}: weight_manifest.json not found, {called('memory_model')}"
               f" {fields['memory_model']} needs")
    if not os.path.lexists(os.path.join(directory, ADDRESSES)):
        raise EmuError(f"{missing} it there or as {called('weight_manifest')}")
    if "board" not in fields:
        raise EmuError(f"{missing} one: name a {called('board')}, or write it with plena-emu manifest {directory}"
                       " --board NAME")
