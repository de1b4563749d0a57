"""The same command makes the same build, file by file, in any process and with any number of threads (spec §9.5)."""

import os
import subprocess
import sys


def test_builds_are_the_same_file_by_file(tmp_path):
    builds = []
    for name, threads in (("one", "1"), ("two", "2")):
        environ = os.environ | {"OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "plena_emu.cli.main", "compile", "clm60m", "--layers", "1", "--prefill", "70",
                   "--logits", "none", "--batch", "2", "--board", "custom_a7", "-o", "build"]
        subprocess.run(command, cwd=tmp_path / name, env=environ, check=True, capture_output=True)
        builds.append({path.name: path.read_bytes() for path in (tmp_path / name / "build").iterdir()})
    assert builds[0].keys() == builds[1].keys() and len(builds[0]) > 15
    assert [name for name, content in builds[0].items() if content != builds[1][name]] == []
