"""Does every "§" and every "chapter" in code, tests and documentation lead to a place in docs/spec?"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
KINDS = {".py", ".md", ".yaml", ".toml", ".sh"}
BUILT = {"build", "dist"}  # folders of the packager, beside those whose name begins with a dot

# "§3.5", "§3", "§4.5 d", "§4.5 a, b", "§4.9, step 1". Words of prose after a number do not belong to it: "a" is an
# item only where punctuation follows.
REFERENCE = re.compile(r"§(\d+(?:\.\d+)?)(,? step \d+| (?:a(?=[,;:.)]|$)|[b-z]\b)(?:, [a-z]\b)*)?")
CHAPTERS = re.compile(r"\bchapters? (\d+)(?:(?: and |-| to )(\d+))?")


def read_places(spec):
    """Places of the specification that can be referred to: "3", "3.5", "4.5 d", "4.9 1"."""
    places = set()
    for path in spec.glob("[0-9][0-9]-*.md"):
        section = None
        for line in path.read_text().splitlines():
            if heading := re.match(r"#{1,2} (\d+(?:\.\d+)?)\.? ", line):
                section = heading[1]
                places.add(section)
            elif (item := re.match(r"([a-z]|\d+)\. ", line)) and section:
                places.add(f"{section} {item[1]}")
    return places


def references(text):
    """(line number, place) of every reference in a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for section, items in REFERENCE.findall(line):
            yield number, section
            for item in re.findall(r"\b(?:\d+|[a-z])\b", items.replace("step", "")):
                yield number, f"{section} {item}"
        for chapters in CHAPTERS.findall(line):
            yield from ((number, chapter) for chapter in chapters if chapter)


def texts():
    """Every text file of the checkout that may refer to the specification, except this one."""
    for top in sorted(ROOT.iterdir()):
        if top.name.startswith(".") or top.name in BUILT or top.suffix == ".egg-info":
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.suffix in KINDS and path.is_file() and path != Path(__file__).resolve():
                yield path


def test_every_reference_leads_somewhere():
    places = read_places(SPEC)
    found = [(path, number, place) for path in texts() for number, place in references(path.read_text())]
    assert len(found) > 400
    dangling = [(path, number, place) for path, number, place in found if place not in places]
    assert [f"{path.relative_to(ROOT)}:{number}: §{place}" for path, number, place in dangling] == []


@pytest.mark.parametrize("text, places", [
    ("spec §3.5", ["3.5"]),
    ("(spec §1.4 - §1.8, §3.7-§3.9)", ["1.4", "1.8", "3.7", "3.9"]),
    ("§4.5 a, b are", ["4.5", "4.5 a", "4.5 b"]),
    ("# §4.5 d: the tick is lost", ["4.5", "4.5 d"]),
    ("(§4.9, step 1)", ["4.9", "4.9 1"]),
    ("§2.3 encodes floats, §6", ["2.3", "6"]),
    ("§2.2, scalar registers", ["2.2"]),
    ("§4.8, a struct; §3.5 a read", ["4.8", "3.5"]),
    ("where §4.5 c is reached (§4.5 a)", ["4.5", "4.5 c", "4.5", "4.5 a"]),
    ("(spec chapters 1 and 2, chapter 4)", ["1", "2", "4"]),
])
def test_references_are_seen(text, places):
    assert [place for _, place in references(text)] == places


def test_places_are_read(tmp_path):
    lines = ("# 4. Title", "", "## 4.1 First", "", "a. this", "1. that", "## Not numbered", "text 4.2 more")
    (tmp_path / "04-some.md").write_text("\n".join(lines))
    assert read_places(tmp_path) == {"4", "4.1", "4.1 a", "4.1 1"}


@pytest.mark.parametrize("path", sorted(SPEC.glob("[0-9][0-9]-*.md")), ids=lambda path: path.stem)
def test_sections_of_a_chapter_are_numbered_in_order(path):
    """From one on without a gap, under a title with the number of the file; and the index names the chapter."""
    chapter = int(path.name[:2])
    titles = re.findall(r"^# (\d+)\. \S", path.read_text(), re.MULTILINE)
    sections = re.findall(r"^## (\d+)\.(\d+) \S", path.read_text(), re.MULTILINE)
    assert titles == [str(chapter)]
    assert sections == [(str(chapter), str(number)) for number in range(1, len(sections) + 1)]
    assert f"]({path.name})" in (SPEC / "README.md").read_text()
