"""Do the commands that the pages tell people to type work where the package is installed, and print what is shown?

A page is one test: its commands run in their order in one directory, in which what the page takes for granted is there.
"""

import importlib.util
import re
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import fresh_environment
import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT.parent / "shared" / "golden" / "programs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (r"(?:plena-emu|transactional_emulator|python|bash|cp|sed|ln|pip|source|pytest|chromium|\$EDITOR"
            r"|NUMBA_\w+=\S+|\.venv/bin/\S+)(?: |$)")
SHELL = ("", "sh", "bash")  # languages of fenced blocks
ROWS_OF = "| `plena-emu …` | |\n"  # the README's table of commands, whose rows leave the program's name out

# What is not run here, by how it begins, and why.
NOT_RUN = {
    "bash tools/": "needs a package registry",
    "pip install": "needs a package registry",
    "pytest": "is the test suite",
    ".venv/bin/python -m pytest": "is the test suite",
    "NUMBA_": "is the test suite",
    "plena-emu bench --growth": "takes minutes; tests/bench/test_side_by_side.py has fewer points",
    "dask ": "needs a cluster; tests/sweeping/test_cluster.py has one",
    "chromium": "needs a browser; tests/cli/test_report.py does the same where there is one",
}
# What a span of code names without telling anybody to type it: a flag, or a command without what it works on.
NAMES = re.compile(r"transactional_emulator$"
                   r"|plena-emu(?: (?:run|manifest|plan|profile|dram|results|…)(?: --[a-z-]+)?)?$")
NEEDS = {
    ".parquet": "pyarrow", "plena-emu report": "matplotlib", "plena-emu plot": "matplotlib", "--plot": "matplotlib",
    "plena-emu search": "optuna",
}
# Words that stand for something: what a reader would put there.
PLACEHOLDERS = {
    "[NAME]": "custom_a7", "NAME": "custom_a7", "MODEL": "tiny", "TRACE": "TRACE.csv", "PLACE": "end",
    "SETTINGS": "B/plena_settings.toml", "RUN.json": "r.json", "A.json": "a.json", "B.json": "b.json", "KIND": "stages",
    "FILE": "FILE.svg",
}
# Big work becomes smaller; what these print is not compared.
SMALLER = {"estimate smollm2-135m": "estimate tiny",
           "--model smollm2-135m --past 128": "--model tiny --layers 1 --past 8"}
QUICK = {"--models": "hbm", "--runs": "2"}  # of every measurement of `bench`, where the command does not say
BEFORE = {"plena-emu check BUILD": "plena-emu run BUILD --quiet"}  # rows of a table are in no order of work
STATUS = {"--compare": (0, 1), "--fail-above": (0, 1)}  # 1: slower, which is an answer


class Command(NamedTuple):
    """A line of shell, and the lines that a page shows below it."""

    text: str
    shown: list[str]


def commands_of(page):
    """Yield the commands of a page in their order: lines of blocks, spans of code, rows of the table of commands."""
    text = page.read_text()
    rows = text.partition(ROWS_OF)[2].partition("\n\n")[0].splitlines()
    fence, block = None, []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("```"):
            fence = None if fence is not None else line[3:]
        elif fence is not None:
            block += [line] if fence in SHELL else []
        elif line.startswith("    "):
            block.append(line[4:])
        elif block and not line:
            block.append(line)
        else:
            yield from _of_block("\n".join(block).replace("\\\n", " "))
            block = []
            yield from _of_line(line, "plena-emu " if line in rows else "")


def _of_line(line, prefix):
    """Commands among the spans of code of a line; of a row that leaves the program's name out, in its first cell."""
    for span in re.findall(r"`([^`]*)`", line.split(" | ")[0] if prefix else line):
        if re.match(PROGRAMS, prefix + span) and not NAMES.match(prefix + span):
            yield Command(prefix + span, [])


def _of_block(block):
    """Commands of a block: the lines after `$ `, what follows being shown; where there is none, lines of programs."""
    prompted = re.search(r"^\$ ", block, re.M) is not None
    found = []
    for line in block.splitlines():
        if line.startswith("$ ") if prompted else re.match(PROGRAMS, line.strip()):
            found.append(Command(line.strip().removeprefix("$ "), []))
        elif found and line.strip() and prompted:
            found[-1].shown.append(" ".join(line.split()))
    return found


@pytest.fixture(scope="session")
def furnished(environment, tmp_path_factory):
    """A directory with what pages take for granted: builds, a trace, records, a checkout's examples and test data."""
    place = tmp_path_factory.mktemp("furnished")
    shutil.copytree(ROOT / "examples", place / "examples", ignore=shutil.ignore_patterns("__pycache__", "*_dump.bin"))
    for name in ("B", "B1", "B2", "BUILD_DIR"):
        shutil.copytree(place / "examples" / "linear" / "build", place / name)
    for path in ("build", "TESTBENCH/target/release"):
        (place / path).mkdir(parents=True)
    (place / "tests").symlink_to(ROOT / "tests")
    (place / ".venv").symlink_to(environment)
    shutil.copy(ROOT / "boards" / "timing" / "rtl_v1.yaml", place / "mine.yaml")
    shutil.copy(ROOT / "examples" / "linear" / "linear.asm", place / "FILE.asm")
    trace = re.search(r"^    # two reads.*\n((?:    .*\n)+)", (ROOT / "docs" / "dram.md").read_text(), re.M)
    for name in ("accesses.csv", "TRACE.csv"):
        (place / name).write_text(trace[1].replace("    ", ""))
    study = re.search(r"^```yaml\n(name: which board.*?)^```", (ROOT / "docs" / "sweep.md").read_text(), re.M | re.S)
    (place / "study.yaml").write_text(study[1].replace("smollm2-135m", "tiny"))
    golden = GOLDEN / "base_clm60m_dec_L4_m64b16.tar.xz"
    if golden.is_file():
        with tarfile.open(golden) as tar:
            tar.extractall(place, filter="data")
        (place / "base_clm60m_dec_L4_m64b16").rename(place / "clm60m_L4")
    made = fresh_environment.run(
        environment, "cp B/plena_settings.toml . && plena-emu compile tiny -o BUILD --board custom_a7"
        " && plena-emu run B --timing-only --quiet --json r.json"
        " && cp r.json a.json && cp r.json b.json && cp B/generated_machine_code.mem FILE.mem", place)
    assert made.returncode == 0, made.stderr
    return place


def as_typed(text):
    """Put what a reader would put in the place of placeholders; big work becomes smaller."""
    text = " ".join(PLACEHOLDERS.get(word, word) for word in text.split(" "))
    for long, short in SMALLER.items():
        text = text.replace(long, short)
    if "--prune" in text:  # on a cache of its own, and not for long: what is kept elsewhere stays
        text = f"PLENA_CACHE_DIR=$PWD/cache {text} --no-warm"
    if "plena-emu bench" in text and "--compare" not in text:
        quick = " ".join(f"{flag} {value}" for flag, value in QUICK.items() if flag not in text)
        text = text.replace("plena-emu bench", f"plena-emu bench {quick}")
    return text


def left_out(text):
    """Say why a command cannot run here; None where it can."""
    for begin, reason in NOT_RUN.items():
        if text.startswith(begin):
            return reason
    if "--scheduler" in text:
        return "needs a cluster; tests/sweeping/test_cluster.py has one"
    for part, module in NEEDS.items():
        if part in text and importlib.util.find_spec(module) is None:
            return f"needs {module}"
    return "needs golden programs" if "clm60m_L4" in text and not GOLDEN.is_dir() else None


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands_of(page))], ids=lambda page: page.stem)
def test_the_commands_of_a_page(environment, furnished, tmp_path, page):
    folder = tmp_path / "as_a_reader"
    shutil.copytree(furnished, folder, symlinks=True)
    for command in commands_of(page):
        text = as_typed(command.text)
        if left_out(text) is not None:
            continue
        before = BEFORE.get(text, "true")
        ran = fresh_environment.run(environment, f"{before} && {text}", folder)
        expected = next((status for part, status in STATUS.items() if part in text), (0,))
        assert ran.returncode in expected, (text, ran.stderr or ran.stdout)
        if any(short in text for short in SMALLER.values()):
            continue
        printed = [" ".join(line.split()) for line in (ran.stdout + ran.stderr).splitlines()]
        missing = [line for line in command.shown if not any(f"{said} ".startswith(f"{line} ") for said in printed)]
        assert missing == [], text


def test_commands_are_found():
    """The pages have them all in one of the forms that are read."""
    found = {page.name: [command.text for command in commands_of(page)] for page in PAGES}
    assert "plena-emu check BUILD" in found["README.md"] and "plena-emu dram run.npz" in found["dram.md"]
    assert "plena-emu run BUILD --dram ddr4" in found["dram.md"]
    assert "plena-emu run build/small --quiet && plena-emu check build/small" in found["models.md"]
    assert any("--weight-manifest B/weight_manifest.json" in text for text in found["README.md"])
    assert sum(map(len, found.values())) > 90
    ran = [text for texts in found.values() for text in texts if left_out(as_typed(text)) not in NOT_RUN.values()]
    assert len(ran) > 75
    for page in PAGES:  # a line of a block that begins with the name of an executable is a command
        typed = r"^(?:    )?(?:\$ )?((?:plena-emu|transactional_emulator) .*?) *\\?$"
        lines = re.findall(typed, page.read_text(), re.M)
        assert [line for line in lines if not any(text.startswith(line) for text in found[page.name])] == []
