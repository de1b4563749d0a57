"""`plena-emu report` and `plot`: one self-contained page, figures in every format, looked at by a browser."""

import hashlib
import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import pytest
from oracle import goldens

from plena_emu.api import run
from plena_emu.cli.main import main

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A small program with regions: with a timeline on board DDR, and plain on HBM."""
    folder = tmp_path_factory.mktemp("records")
    build = goldens.unpack(goldens.find("base_aten_linear"), folder).directory
    (build / "weight_manifest.json").write_text(json.dumps({"activation_ceiling": 0, "regions": [
        {"layer_id": 0, "offset": 0, "size": 16384, "kind": "activation"},
        {"layer_id": 0, "offset": 16384, "size": 8192, "kind": "weight"}]}))
    timed = run(str(build), timing_only=True, memory_model="auto", timeline=str(folder / "t.json"), board="custom_a7",
                hashes=True)
    plain = run(str(build), timing_only=True)
    timed.warnings.append("a <b>warning</b> & more")
    for name, result in (("timed", timed), ("plain", plain)):
        (folder / f"{name}.json").write_text(result.to_json())
    return folder, timed, plain


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects what a page would fetch, and its text."""

    VOID = ("meta", "link", "img", "source", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.urls, self.texts, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]

    def handle_endtag(self, tag):
        if tag in ("tr", "td", "th") and self.open[-1] != tag:
            pytest.fail(f"{tag} closed inside {self.open}")
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(records):
    folder, _, _ = records
    path = folder / "r.html"
    assert main(["report", str(folder / "timed.json"), str(folder / "plain.json"), "-o", str(path),
                 "--capacity-curve"]) == 0
    return path


def test_page_is_self_contained(page, records):
    text = page.read_text()
    found = Page(text)
    assert found.urls and all(url.startswith("data:") for url in found.urls)
    assert "script" not in found.tags and "@import" not in text and not re.search(r"url\((?!data:)", text)
    shown = " ".join(found.texts)
    _, timed, plain = records
    for result in (timed, plain):
        assert f"{result.latency_ps / 1e6:,.3f} µs" in shown
    assert "a <b>warning</b> & more" in shown and "custom_a7" in shown
    assert re.search(r"[0-9a-f]{64}", shown) and plain.program.path in shown
    for row in timed.stages.by("operator"):
        assert f"{row.figures.time_ps / 1e6:,.1f} µs" in shown


def test_pictures_are_drawings(page):
    import base64

    drawings = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page.read_text())
    assert len(drawings) == 4 * 3 + 4 * 2  # two themes and sizes; the plain run has no bandwidth over time
    for drawing in drawings:
        assert base64.b64decode(drawing).lstrip().startswith(b"<?xml") and b"http-equiv" not in drawing.encode()


def test_same_bytes(page, tmp_path, records):
    folder, _, _ = records
    other = tmp_path / "again.html"
    assert main(["report", str(folder / "timed.json"), str(folder / "plain.json"), "-o", str(other),
                 "--capacity-curve"]) == 0
    assert other.read_bytes() == page.read_bytes()


@pytest.mark.parametrize("kind", ["stages", "roofline", "capacity", "timeline"])
@pytest.mark.parametrize("end, magic", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_plots(records, kind, end, magic, tmp_path):
    path = tmp_path / f"f.{end}"
    assert main(["plot", str(records[0] / "timed.json"), "--kind", kind, "-o", str(path), "--dark"]) == 0
    assert path.read_bytes().startswith(magic)


def test_hashes_are_those_of_the_run(tmp_path, capsys):
    """The record holds what was read; the page says where a file is another one by now, or gone."""
    build = goldens.unpack(goldens.find("base_aten_linear"), tmp_path).directory
    assert main(["run", str(build), "--no-dumps", "--quiet", "--json", str(tmp_path / "r.json")]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    found, sources = record["sources"]["sha256"], record["sources"]
    paths = {"program": record["program"]["path"]} | {
        name: sources[name] for name in ("settings", "hbm", "fpsram", "intsram") if sources[name]}
    assert found == {name: hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() for name, path in paths.items()}
    assert main(["run", str(build), "--timing-only", "--quiet", "--json", str(tmp_path / "t.json")]) == 0
    assert not {"hbm", "fpsram"} & set(json.loads((tmp_path / "t.json").read_text())["sources"]["sha256"])
    assert run(str(build), timing_only=True).sources.sha256 == {}

    def shown():
        assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]) == 0
        return " ".join(Page((tmp_path / "r.html").read_text()).texts)

    assert "since the run" not in shown() and found["hbm"] in shown()
    (build / "hbm_for_behave_sim.bin").write_bytes(b"other")
    (build / "fp_sram.bin").unlink()
    assert f"{found['hbm']}; changed since the run" in shown() and f"{found['fpsram']}; not there any more" in shown()
    flags = ["--timing-only", "--dram", "ddr4", "--quiet", "--json", str(tmp_path / "d.json")]
    assert main(["run", str(build), *flags]) == 0
    capsys.readouterr()
    assert main(["diff", str(tmp_path / "t.json"), str(tmp_path / "d.json")]) == 0
    assert "sources.sha256.dram" in capsys.readouterr().out


def test_what_a_record_lacks(records, tmp_path, capsys):
    folder, _, plain = records
    assert main(["plot", str(folder / "plain.json"), "--kind", "timeline", "-o", str(tmp_path / "f.svg")]) == 101
    assert "needs a record of plena-emu run --timeline" in capsys.readouterr().err
    plain = plain.stages
    bare = json.loads((folder / "plain.json").read_text())
    bare["stages"] = None
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    assert main(["report", str(tmp_path / "bare.json"), "-o", str(tmp_path / "r.html")]) == 101
    assert "has no stages" in capsys.readouterr().err and not (tmp_path / "r.html").exists()
    assert main(["plot", str(folder / "plain.json"), "--kind", "stages", "-o", str(tmp_path / "f.gif")]) == 2
    assert ".svg, .png, .pdf" in capsys.readouterr().err


BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
BROWSER = next((path for path in BROWSERS if path), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page is not looked at by a browser")
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_it(page, tmp_path, width):
    """No console messages, nothing wider than the window, every picture drawn."""
    probe = tmp_path / "probe.html"
    script = ("<script>window.onload=()=>{document.title=JSON.stringify([document.documentElement.scrollWidth,"
              "innerWidth,[...document.images].map(i=>i.naturalWidth),performance.getEntriesByType('resource')"
              ".map(e=>e.name).filter(n=>!n.startsWith('data:'))])}</script></head>")
    probe.write_text(page.read_text().replace("</head>", script, 1))
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", probe.as_uri()],
        capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-500:]
    scroll, inner, images, fetched = json.loads(title[1])
    assert scroll <= inner and fetched == []
    assert len(images) == 5 and all(images)
    assert "CONSOLE" not in done.stderr
