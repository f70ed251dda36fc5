"""The command line of the power meters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fake_meters import constant

from hardware.power import COMMANDS, main
from twin.records import MeterReadings
from twin.runs.parquet import read_table

HEAVY = ("numpy", "pyarrow", "serial", "rich", "cryptography", "torch", "simpy", "networkx", "pty")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_is_quick(command):
    code = f"""
import sys
from hardware.power import main
try:
    main({[*command, "--help"]!r})
except SystemExit as end:
    assert end.code == 0
print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "usage: python -m hardware.power" in done.stdout


def test_a_recording_is_a_table_with_its_facts_and_frames_and_can_be_decoded_again(tmp_path, capsys):
    out = tmp_path / "new" / "power.parquet"
    urls = ["emulated://tc66c?power_w=4.2", "emulated://um25c?power_w=3"]
    assert main(["record", *urls, "--out", str(out), "--duration", "0.05", "--period", "0.01"]) == 0
    table = read_table(out, MeterReadings)
    assert sorted(set(table.device)) == [0, 1]
    assert table.power_w[table.device == 0] == pytest.approx(4.2)
    notes = json.loads((out.parent / "power.meters.json").read_text())
    assert [entry["facts"]["model"] for entry in notes] == ["TC66", "UM25C"]
    assert {entry["facts"]["source"] for entry in notes} == {"emulated"}
    import pyarrow.parquet as pq

    assert pq.read_schema(out).metadata[b"source"] == b"emulated"
    again = tmp_path / "again.parquet"
    frames = [str(out.parent / f"power.{k}.frames.jsonl") for k in (0, 1)]
    assert main(["replay", *frames, "--out", str(again)]) == 0
    replayed = read_table(again, MeterReadings)
    for name, column in table.columns().items():
        assert np.array_equal(column, getattr(replayed, name), equal_nan=True), name
    assert "readings" in capsys.readouterr().out


def test_ctrl_c_ends_a_recording_with_a_whole_file(tmp_path):
    out = tmp_path / "power.parquet"
    arguments = [sys.executable, "-m", "hardware.power", "record", "emulated://tc66c?power_w=4.2", "--out", str(out)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        frames = tmp_path / "power.0.frames.jsonl"
        for _ in range(600):
            if frames.exists() and frames.read_text().count("\n") > 2:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        said, complained = running.communicate(timeout=30)
    assert (running.returncode, complained) == (0, "")
    assert len(read_table(out, MeterReadings)) >= 1
    assert "readings" in said


def test_a_meter_that_goes_away_leaves_a_whole_file_that_says_so(tmp_path, capsys):
    emulator = constant("tc66c")
    out = tmp_path / "power.parquet"
    pulled = threading.Timer(0.2, emulator.close)
    pulled.start()
    arguments = ["record", f"tc66c://{emulator.path}", "--out", str(out), "--duration", "1.5", "--period", "0.02"]
    assert main(arguments) == 0
    pulled.join()
    (notes,) = json.loads((tmp_path / "power.meters.json").read_text())
    assert not notes["complete"]
    assert "the energy is incomplete" in capsys.readouterr().err
    assert len(read_table(out, MeterReadings)) >= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["watch", "tc66d:///dev/ttyACM0"], "did you mean tc66c://"),
        (["watch", "tc66c:///dev/no-such-port"], "hardware.power list"),
        (["watch", "rapl://", "--duration", "soon"], "no number of seconds"),
        (["record", "emulated://tc66c?power_w=1", "--out", "/dev/null/power.parquet"], "choose another folder"),
        (["replay", "none.jsonl", "--out", "power.parquet"], "name a file of raw frames"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_message(tmp_path, arguments, says):
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "hardware.power", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_list_and_watch_write_lines(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "rapl://" in shown
    assert "remedy" in shown
    assert main(["watch", "emulated://um24c?power_w=2", "--duration", "1.3"]) == 0
    assert "2.000 W, 5.000 V" in capsys.readouterr().out
