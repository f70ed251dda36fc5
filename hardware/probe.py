"""`python -m hardware.probe`: record how fast the link between two machines is, as a trace that scenarios can play."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.cli import INTERRUPTED, guarded
from twin.errors import MachineError, MeasurementError, ScenarioError, TransportError
from twin.units import mbps_from_bps, ms_from_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from hardware.coordinator.linktrace import LinkRow
    from hardware.coordinator.recording import End, Recording

LEAST_EVERY_S = 0.2
"""Shortest interval: in a tenth of it a burst must be longer than the jitter of its times."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    _check(options)
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    console = Console(stderr=True)
    with _link(options, console) as (ends, at_zero):
        return _record(options, ends, at_zero, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hardware.probe",
        description="Record goodput and round-trip time of the link between two machines of a testbed, both ways, as a "
        "trace for scenarios. With a scenario instead of a testbed file: of its link as emulated on this machine.",
    )
    parser.add_argument("scenario", nargs="?", type=Path, help="scenario file, to record one of its emulated links")
    parser.add_argument("--testbed", type=Path, metavar="FILE", help="the machines; their agents must run")
    parser.add_argument("--between", nargs=2, required=True, metavar="NAME", help="the machines; up is to the second")
    parser.add_argument("--duration", type=float, default=60.0, metavar="S", help="length of the trace (default: 60)")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="length of an interval (default: 1)")
    parser.add_argument(
        "--share", type=float, default=0.6, metavar="X", help="share of the time in which bytes are sent (default: 0.6)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the trace, such as data/traces/x.csv")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything is started.

    Raises:
        MeasurementError: An option is out of range, or the trace exists.
    """
    if (options.scenario is None) == (options.testbed is None):
        raise MeasurementError("give a scenario, to record an emulated link, or --testbed FILE; one of the two")
    if not LEAST_EVERY_S <= options.every <= math.inf or not math.isfinite(options.every):
        raise MeasurementError(f"--every {options.every:g}: an interval must be at least {LEAST_EVERY_S} s long")
    if not options.every <= options.duration < math.inf:
        raise MeasurementError(f"--duration {options.duration:g}: the trace must hold at least one interval")
    if not 0.05 <= options.share <= 0.8:
        raise MeasurementError(f"--share {options.share:g}: give a share between 0.05 and 0.8")
    if options.between[0] == options.between[1]:
        raise MeasurementError(f"--between names `{options.between[0]}` twice; a link joins two machines")
    if options.out.suffix != ".csv":
        raise MeasurementError(f"--out {options.out}: a link trace is a .csv file; give it that ending")
    if options.out.exists():
        raise MeasurementError(f"{options.out} exists already; choose another name, or move it away")


@contextmanager
def _link(options: argparse.Namespace, console: Console) -> Iterator[tuple[tuple[End, End], Callable[[float], object]]]:
    """Both ends of the link, and what is to be told when the first interval begins."""
    from hardware.coordinator.recording import End  # noqa: PLC0415 - keeps --help quick
    from hardware.coordinator.rig import remotes  # noqa: PLC0415 - as above

    first, second = options.between
    if options.testbed is None:
        with _emulated(options, console) as found:
            yield found
        return
    from hardware.inventory import read_inventory  # noqa: PLC0415 - as above

    testbed = read_inventory(options.testbed)
    machines = remotes(testbed, (first, second))
    up = End(machines[0], second, testbed.address(first, second))
    down = End(machines[1], first, testbed.address(second, first))
    yield (up, down), lambda _zero_s: None


@contextmanager
def _emulated(
    options: argparse.Namespace, console: Console
) -> Iterator[tuple[tuple[End, End], Callable[[float], object]]]:
    from hardware.coordinator.recording import End  # noqa: PLC0415 - keeps --help quick
    from hardware.coordinator.rig import start_here  # noqa: PLC0415 - as above
    from twin.scenario import load_world  # noqa: PLC0415 - as above

    world = load_world(options.scenario)
    continuum = world.problem.continuum
    names = list(continuum.names)
    for name in options.between:
        if name not in names:
            raise ScenarioError(f"{options.scenario}: has no device `{name}`; its devices are {', '.join(names)}")
    places = [names.index(name) for name in options.between]
    joined = [k for k, link in enumerate(continuum.links) if {link.a, link.b} == set(places)]
    if not joined:
        raise ScenarioError(f"{options.scenario}: no link joins {' and '.join(options.between)}")
    console.print(f"starting {len(names)} agents on this machine")
    with tempfile.TemporaryDirectory(prefix="continuum-twin-probe-") as folder:
        keys = Path(folder) / "keys"
        keys.mkdir(mode=0o700)
        rig = start_here(world, Path(folder), keys, "sleep")
        assert rig.local is not None  # noqa: S101 - it was just started
        with closing(rig.local):
            a, b = (
                End(
                    rig.remotes[me],
                    names[other],
                    next(dial.data for dial in rig.orders[me].dials if dial.link == joined[0]),
                )
                for me, other in (places, places[::-1])
            )
            yield (a, b), rig.local.start


def _record(
    options: argparse.Namespace, ends: tuple[End, End], at_zero: Callable[[float], object], console: Console
) -> int:
    """Record and write; what was recorded is written too when it is interrupted or a machine is lost."""
    # Takes a second of a core, which the first intervals would lack on one machine.
    import scipy.stats  # noqa: F401, PLC0415

    from hardware.coordinator.recording import Recording  # noqa: PLC0415 - keeps --help quick

    n = int(options.duration / options.every + 1e-9)
    recording = Recording(ends, every_s=options.every, n=n, share=options.share)
    problem: MachineError | TransportError | None = None
    is_interrupted = False
    with closing(recording):
        try:
            recording.start(at_zero)
            with _progress(options, recording, n, console) as tell:
                recording.follow(tell)
        except KeyboardInterrupt:
            is_interrupted = True
            recording.again()
        except (MachineError, TransportError) as error:
            problem = error
    if recording.complete == 0:
        if problem is not None:
            raise problem
        return INTERRUPTED
    _write(options, recording, is_whole=not is_interrupted and problem is None)
    if problem is not None:
        raise problem
    return INTERRUPTED if is_interrupted else 0


@contextmanager
def _progress(
    options: argparse.Namespace, recording: Recording, n: int, console: Console
) -> Iterator[Callable[[], object]]:
    """A progress bar that shows what the last interval gave."""
    from rich.progress import Progress  # noqa: PLC0415 - keeps --help quick

    from hardware.coordinator.linktrace import goodput_bps  # noqa: PLC0415 - brings numpy along

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(" - ".join(options.between), total=n)

        def tell() -> None:
            if recording.complete:
                both = [found[recording.complete - 1] for found in recording.intervals]
                up, down = (mbps_from_bps(goodput_bps(one, options.every)) for one in both)
                text = f"{' - '.join(options.between)}: {up:.3g} up, {down:.3g} down Mbit/s"
                bar.update(task, completed=recording.complete, description=text)

        yield tell


def _write(options: argparse.Namespace, recording: Recording, *, is_whole: bool) -> None:
    from hardware.coordinator.linktrace import trace_rows, write_trace  # noqa: PLC0415 - brings numpy along

    up, down = recording.intervals
    rows = trace_rows(up, down, options.every)
    write_trace(options.out, rows, _meta(options, recording, len(rows), is_whole=is_whole))
    sys.stdout.write(f"{options.out}: {_summary(rows, options.every)}\n")
    if not is_whole:
        sys.stderr.write(f"{options.out}: holds what was recorded until it was stopped\n")


def _meta(options: argparse.Namespace, recording: Recording, n: int, *, is_whole: bool) -> dict[str, Any]:
    from hardware.coordinator.linktrace import METHOD, sizes_and_numbers  # noqa: PLC0415 - brings numpy along
    from hardware.host import today  # noqa: PLC0415 - as above
    from twin.runs import provenance  # noqa: PLC0415 - as above

    first, second = options.between
    where = "" if options.scenario is None else f", emulated on one machine from {options.scenario.name}"
    up, down = recording.intervals
    return {
        "source": "emulated" if options.scenario is not None else "measured",
        "description": f"The link between {first} and {second}{where}; up is from {first} to {second}.",
        "duration_s": n * options.every,
        "date": today(),
        "generator": "python -m hardware.probe",
        "method": METHOD,
        "every_s": options.every,
        "share_of_time": options.share,
        "intervals": n,
        "complete": is_whole,
        "up": sizes_and_numbers(up[:n]),
        "down": sizes_and_numbers(down[:n]),
        "hosts": dict(zip((first, second), recording.hosts, strict=True)),
        "versions": provenance.versions(),
    }


def _summary(rows: Sequence[LinkRow], every_s: float) -> str:
    up, down = (
        [f"{mbps_from_bps(x):.4g}" for x in (min(column), statistics.median(column), max(column))]
        for column in ([row.up_bps for row in rows], [row.down_bps for row in rows])
    )
    trip_ms = ms_from_s(statistics.median(row.rtt_s for row in rows))
    silent = sum(row.up_bps == 0 or row.down_bps == 0 for row in rows)
    gaps = f", {silent} with an outage" if silent else ""
    return (
        f"{len(rows)} intervals of {every_s:g} s{gaps}; least, median and largest goodput {' / '.join(up)} Mbit/s up, "
        f"{' / '.join(down)} down; median round trip {trip_ms:.3g} ms"
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
