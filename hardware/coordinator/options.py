"""The options of `python -m hardware.run`."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The options of `python -m hardware.run`."""
    made = argparse.ArgumentParser(
        prog="python -m hardware.run",
        description="Play the policies of a scenario on the machines of a testbed. Without --testbed, agents on this "
        "machine stand in for the devices, with the scenario's links between them.",
    )
    made.add_argument("scenario", type=Path, help="scenario file (YAML)")
    made.add_argument("--testbed", type=Path, metavar="FILE", help="the machines (default: this one)")
    made.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/<scenario>-testbed)")
    made.add_argument("--policy", nargs="+", metavar="LABEL", help="play only these policies")
    made.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="runs of each policy, interleaved (default: 1)"
    )
    made.add_argument("--seed", type=int, metavar="N", help="seed in place of the scenario's")
    made.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a place, such as devices.pi.load=2"
    )
    _add_ways(made)
    _add_twin(made)
    made.add_argument("--images", type=Path, metavar="DIR", help="pictures as inputs (default: random tensors)")
    made.add_argument("--no-check", action="store_true", help="do not hold answers against the whole model")
    made.add_argument("--no-report", action="store_true", help="write no report.html")
    made.add_argument("--json", action="store_true", help="print summary.json in place of the table")
    return made


def _add_ways(made: argparse.ArgumentParser) -> None:
    """How the runs are played."""
    made.add_argument(
        "--switch",
        choices=("epoch", "pause"),
        default="epoch",
        help="how the partition changes: at once, or holding requests back until all is drained (default: epoch)",
    )
    made.add_argument(
        "--devices",
        choices=("auto", "profile", "sleep", "factor"),
        default="auto",
        help="on one machine, how agents stand in for devices: compute and wait for the profiled time, only sleep, or "
        "compute and sleep by the load (default: profile where this machine is fast enough, else sleep)",
    )
    made.add_argument(
        "--emulate",
        choices=("proxy", "netns"),
        default="proxy",
        help="on one machine, what makes the links: a process that hands bytes on, or, as root, the kernel "
        "(default: proxy)",
    )
    made.add_argument(
        "--curve",
        choices=("on", "off"),
        default="on",
        help="on one machine: encryption, which takes some percent of the goodput of links of 100 Mbit/s and more; "
        "without, any user of this machine can talk to the agents (default: on)",
    )
    made.add_argument(
        "--idle",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds before and after each run in which power meters show the idle baseline (default: 5)",
    )


def _add_twin(made: argparse.ArgumentParser) -> None:
    """What the twin does with the runs."""
    made.add_argument(
        "--compare", action="store_true", help="replay the runs in the twin and print how far it is from them"
    )
    made.add_argument(
        "--require",
        nargs="+",
        action="extend",
        default=[],
        metavar="WHAT",
        help="with --compare, what must hold, such as 'latency_mean<=5%%'; if it does not, the exit status is 3",
    )
    made.add_argument(
        "--live", action="store_true", help="let the twin follow the runs and predict each next control interval"
    )
