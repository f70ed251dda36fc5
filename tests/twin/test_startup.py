"""What is imported when: quick help, and a twin that needs no hardware package."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from worlds import tiny_project

HEAVY = ("networkx", "simpy", "pyarrow", "matplotlib", "torch", "torchvision", "serial", "zmq", "jinja2", "scipy")
HEAVY += ("joblib", "distributed")
COMMANDS = ["twin.simulate", "twin.plan", "twin.scenario", "twin.derive", "twin.tracegen", "twin.paper", "twin.sweep"]
COMMANDS += ["twin.benchmark", "twin.compare"]
COMMANDS += ["hardware.profile", "hardware.stages", "hardware.probe"]


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_quick(module):
    done = python(
        f"""
        import runpy, sys
        sys.argv = ["x", "--help"]
        try:
            runpy.run_module({module!r}, run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, end.code
        print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "usage: python -m " + module in done.stdout
    assert done.stderr.strip() == ""


def test_the_twin_simulates_without_the_hardware_packages(tmp_path):
    scenario = tiny_project(tmp_path)
    done = python(
        """
        import sys

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"torch", "torchvision", "serial", "zmq", "cryptography", "hardware"}:
                    raise ModuleNotFoundError(f"{name} is blocked")

        sys.meta_path.insert(0, Block())
        from twin.simulate import main
        sys.exit(main([sys.argv[1], "--out", sys.argv[2]]))
        """,
        str(scenario),
        str(tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "summary.json").exists()
    assert (tmp_path / "out" / "report.html").exists()
