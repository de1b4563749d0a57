"""Runs a sample of the tests where the main run does not reach: oldest versions, other Pythons, other compilers.

    python tools/legs.py            # all legs
    python tools/legs.py oldest     # one: oldest, pythons, alone, plain

`oldest`   numpy and msgspec at the lowest versions that pyproject.toml allows
`pythons`  every Python of 3.11 to 3.13 on this machine besides the one that runs this
`alone`    kernels that numba alone compiles (PLENA_PLAIN_NUMBA=1), not as object code
`plain`    kernels without the compiler (NUMBA_DISABLE_JIT=1), with the share of their lines that ran

A leg whose means are missing is skipped with a word. Environments lie in `.cache/legs` and are kept.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "legs"
OLDEST = ("numpy", "msgspec")
PYTHONS = ("3.11", "3.12", "3.13")
# Programs that reach every unit, and random ones; together about half a minute compiled.
PROGRAMS = ("base_fz_00008", "base_fz_00012", "base_sp_05014", "base_st_00000", "moe_fz_00014", "moe_sp_05004",
            "moe_st_00001")
SEEDS = [str(seed) for seed in range(200, 220)]
PLAIN_PROGRAMS = ("base_fz_00008", "base_sp_05014", "moe_fz_00014", "moe_st_00001")
PLAIN_SEEDS = [str(seed) for seed in range(4)]
PLAIN_COMMANDS = (  # hardware timing on either engine, and a replay, which no golden program reaches
    "run examples/linear/build --timing rtl-v1 --no-dumps",
    "run examples/linear/build --memory-model resident --dma production --no-dumps",
    "dram tests/golden/hbm/h19_rmw_then_prefetch.npz",
)
# Tests of kernels for a second thread, which plain Python never runs.
PLAIN_TESTS = ("tests/simple/test_foresight.py", "tests/dram/test_foresight.py")
LEAST_COVERED = 70  # percent of the kernels' lines that plain Python has to run


def say(text: str) -> None:
    """Print a line of the report."""
    print(f"legs: {text}", flush=True)


def lowest(package: str) -> str:
    """Read the lowest version of a dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(re.findall(r"(\w+)>=([\d.]+)", " ".join(project["dependencies"])))[package]


def environment(name: str, python: str, packages: list[str]) -> Path | None:
    """Make (once) an environment with this project and `packages`; None where that fails, with a word."""
    place = PLACE / name
    done = place / "installed"
    wanted = "\n".join([python, *packages, (ROOT / "pyproject.toml").read_text()])
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        steps = [
            [python, "-m", "venv", str(place)],
            [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--editable", ".", "pytest", "hypothesis", *packages],
        ]
        for step in steps:
            made = subprocess.run(step, cwd=ROOT, capture_output=True, text=True)
            if made.returncode:
                say(f"{name}: skipped, no environment: {(made.stderr.strip().splitlines() or ['?'])[-1]}")
                return None
        done.write_text(wanted)
    return place / "bin" / "python"


def run_sample(name: str, python: Path, **environ: str) -> bool:
    """Run goldens and random programs with an interpreter and more environment; True when all agree."""
    versions = ("import numpy, msgspec, numba, sys; print('Python', sys.version.split()[0], 'numpy', numpy.__version__,"
                " 'msgspec', msgspec.__version__, 'numba', numba.__version__)")
    what = subprocess.run([str(python), "-c", versions], capture_output=True, text=True).stdout.strip()
    say(f"{name}: {what}")
    ok = True
    for script, arguments in (("golden_runs.py", PROGRAMS), ("product.py", SEEDS)):
        run = subprocess.run([str(python), str(ROOT / "tests" / script), *arguments], capture_output=True, text=True,
                             env={**os.environ, **environ})
        say(f"{name}: {(run.stdout.strip().splitlines() or run.stderr.strip().splitlines() or ['no output'])[-1]}")
        ok = ok and run.returncode == 0
    return ok


def oldest() -> bool:
    """Run the sample on the lowest versions that are allowed."""
    python = environment("oldest", sys.executable, [f"{package}=={lowest(package)}.*" for package in OLDEST])
    return python is None or run_sample("oldest", python)


def find_python(version: str) -> str | None:
    """Find an interpreter that works: on the path (where a shim may not), else among those of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(f"python{version}"), *sorted(map(str, root.glob(f"versions/{version}.*/bin/python")))]
    for place in filter(None, places):
        if subprocess.run([place, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            return place
    return None


def pythons() -> bool:
    """Run the sample on every other Python of this machine."""
    ok = True
    for version in PYTHONS:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            continue
        path = find_python(version)
        if path is None:
            say(f"python{version}: skipped, not on this machine")
            continue
        python = environment(f"python{version}", path, [])
        ok = ok and (python is None or run_sample(f"python{version}", python))
    return ok


def alone() -> bool:
    """Run the sample as numba alone compiles it."""
    return run_sample("alone", Path(sys.executable), PLENA_PLAIN_NUMBA="1")


def plain() -> bool:
    """Run programs in plain Python and report the share of the kernels' lines that ran."""
    PLACE.mkdir(parents=True, exist_ok=True)
    data = PLACE / "coverage"
    environ = {**os.environ, "NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": str(data)}
    coverage = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "coverage"]
    data.unlink(missing_ok=True)
    ok = True
    commands = [[str(ROOT / "tests" / "golden_runs.py"), *PLAIN_PROGRAMS],
                [str(ROOT / "tests" / "product.py"), *PLAIN_SEEDS],
                *(["-m", "plena_emu.cli.main", *command.split()] for command in PLAIN_COMMANDS),
                ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *PLAIN_TESTS]]
    for command in commands:
        run = subprocess.run([*coverage, "run", "--append", "--source", str(ROOT / "kernels"), "--omit",
                              str(ROOT / "kernels" / "compiler" / "*"), *command],
                             env=environ, capture_output=True, text=True, cwd=ROOT)
        say(f"plain: {(run.stdout.strip().splitlines() or run.stderr.strip().splitlines() or ['no output'])[-1]}")
        ok = ok and run.returncode == 0
    report = subprocess.run([*coverage, "report", "--format", "total"], env=environ, capture_output=True, text=True)
    share = int(report.stdout.strip() or 0)
    table = subprocess.run([*coverage, "report", "--sort", "cover"], env=environ, capture_output=True, text=True).stdout
    for line in table.splitlines()[2:7]:
        name, _, missed, covered = line.split()[:4]
        say(f"plain: least covered: {name} {covered} ({missed} lines did not run)")
    say(f"plain: {share} % of the kernels' lines ran in plain Python, expected at least {LEAST_COVERED} %")
    return ok and share >= LEAST_COVERED


def main(names: list[str]) -> int:
    """Run the named legs, or all of them."""
    legs = {"oldest": oldest, "pythons": pythons, "alone": alone, "plain": plain}
    unknown = [name for name in names if name not in legs]
    if unknown:
        say(f"found {unknown[0]!r}, expected one of {', '.join(legs)}")
        return 2
    failed = [name for name in names or legs if not legs[name]()]
    for name in failed:
        say(f"{name}: failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
