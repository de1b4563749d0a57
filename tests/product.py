"""Runs a program through the emulator as the command lines do, and compares it with the oracle.

As a script: check the programs of the given seeds, in whatever mode the environment selects for numba.
"""

import pathlib
import sys
import tempfile

from oracle import programs
from oracle.state import OracleError

from plena_emu.errors import EmuError
from plena_emu.logs import Log
from plena_emu.request import RunRequest
from plena_emu.running.runner import execute

MODEL = "hbm"
NO_WEIGHTS = '{"activation_ceiling": 0, "regions": []}'


def run_emulator(program: programs.Program, directory: pathlib.Path, model: str = MODEL) -> dict[str, bytes]:
    """Dump files of a run by name; `hbm_dump.bin` is among them with the model `hbm` only."""
    build = program.write(directory / "build")
    dumps = directory / "dumps"
    dumps.mkdir()
    manifest = directory / "manifest.json"
    manifest.write_text(NO_WEIGHTS)
    request = RunRequest(
        opcode=str(build / "generated_machine_code.mem"),
        hbm=str(build / "hbm_for_behave_sim.bin"),
        fpsram=str(build / "fp_sram.bin"),
        intsram=str(build / "int_sram.bin"),
        vram=str(build / "vram_preload.bin"),
        settings_path=str(build / "plena_settings.toml"),
        isa=program.revision,
        memory_model=model,
        weight_manifest=None if model == "hbm" else str(manifest),
        dump_dir=str(dumps),
        dump_hbm=True,
    )
    execute(request, Log("off"))
    return {path.name: path.read_bytes() for path in dumps.iterdir()}


def disagreements(program: programs.Program, model: str = MODEL) -> list[str]:
    """What the emulator and the oracle do not agree on: dump bytes, or the pc of the error that stops both."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            expected = program.machine().run(program.words).dumps()
        except OracleError as error:
            return _error_disagreement(program, pathlib.Path(directory), model, error)
        if model != "hbm":
            del expected["hbm_dump.bin"]
        return program.differences(expected, run_emulator(program, pathlib.Path(directory), model))


def _error_disagreement(program, directory, model, expected):
    try:
        run_emulator(program, directory, model)
    except EmuError as error:
        text = str(error)
        if f"pc={expected.pc}" not in text.replace(" ", "") or "\n" in text:
            return [f"error {text!r}, expected one line naming pc={expected.pc} ({expected})"]
        if list((directory / "dumps").iterdir()):
            return ["dumps were written although the run stopped"]
        return []
    return [f"no error, expected {expected}"]


def main(arguments: list[str]) -> int:
    """Check random programs by seed on small geometries; prints what disagrees."""
    failed = 0
    for seed in map(int, arguments):
        program = programs.generate(
            seed,
            geometry=seed % programs.SMALL_GEOMETRIES,
            revision=("base", "moe")[seed // programs.SMALL_GEOMETRIES % 2],
            flavour=programs.FLAVOURS[seed % 2],
            statements=15,
        )
        lines = disagreements(program)
        failed += bool(lines)
        for line in lines:
            print(program.arguments, line)
    print(f"checked {len(arguments)} programs, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
