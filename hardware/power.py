"""Power meters on the command line.

`python -m hardware.power list` shows what this machine has, `watch URL...` what meters say now, `record URL... --out
power.parquet` keeps it, `replay FRAMES... --out power.parquet` decodes the raw frames of a recording again, and `fit
RUN_FOLDER` turns the readings of a run into power states.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hardware.meters.errors import MeterError
from hardware.power_fit import HELP, fit, fit_arguments
from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.text import Text

    from hardware.meters.collect import Recording
    from hardware.meters.sampler import Sampler

_LOOK_S = 0.25
"""Time between two looks of the live display."""


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        help: One line for `--help`.
        arguments: Adds its arguments to a parser.
        run: Runs it; returns the exit status.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(prog="python -m hardware.power", description="Read power meters.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.help, description=command.help))
    options = parser.parse_args(arguments)
    return COMMANDS[options.command].run(options)


def _list(_: argparse.Namespace) -> int:
    """Show every source of power readings of this machine."""
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    from hardware.meters.survey import survey  # noqa: PLC0415 - looks at hardware only when asked to

    table = Table("meter", "readable", "what it says, or the remedy", box=None)
    for found in survey():
        table.add_row(Text(found.url), "yes" if found.readable else "no", Text(found.says))
    Console().print(table)
    return 0


def _watch(options: argparse.Namespace) -> int:
    """Show what meters say until the time is up or the user ends it."""
    with _samplers(options.urls, None, options.period) as samplers:
        with suppress(KeyboardInterrupt):
            _follow(samplers, options.duration, aloud=True)
        recordings = [sampler.stop() for sampler in samplers]
    _complain(recordings)
    return 0


def _record(options: argparse.Namespace) -> int:
    """Keep what meters say until the time is up or the user ends it."""
    with _samplers(options.urls, options.out, options.period) as samplers:
        with suppress(KeyboardInterrupt):
            _follow(samplers, options.duration)
        recordings = [sampler.stop(device=position) for position, sampler in enumerate(samplers)]
    return _write(options.out, recordings)


def _replay(options: argparse.Namespace) -> int:
    """Decode frames again."""
    from hardware.meters.frames import replay  # noqa: PLC0415 - numpy is not needed for --help

    return _write(options.out, [replay(path, device=position) for position, path in enumerate(options.frames)])


@contextmanager
def _samplers(urls: Sequence[str], out: Path | None, period_s: float | None) -> Iterator[list[Sampler]]:
    """Open all meters, refusing the first that cannot be opened, and sample them."""
    from hardware.meters.open import open_meter  # noqa: PLC0415 - numpy is not needed for --help
    from hardware.meters.sampler import Sampler  # noqa: PLC0415 - likewise

    with ExitStack() as stack:
        meters = []
        for url in urls:
            meters.append(open_meter(url))
            stack.callback(meters[-1].close)
        origin_s = time.monotonic()
        samplers = []
        for k, meter in enumerate(meters):
            frames = None if out is None else frames_of(out, k)
            samplers.append(Sampler(meter, meter.url, frames, period_s=period_s, origin_s=origin_s).start())
            stack.callback(samplers[-1].stop)
        yield samplers


def frames_of(out: Path, position: int) -> Path:
    """Name of the file of raw frames of one meter beside a table of readings."""
    return out.with_name(f"{out.stem}.{position}.frames.jsonl")


def _follow(samplers: Sequence[Sampler], duration_s: float | None, *, aloud: bool = False) -> None:
    """Show the newest readings until the time is up.

    Without a terminal there is no live line; `aloud` then writes one line per second and meter.
    """
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.live import Live  # noqa: PLC0415 - likewise

    start_s = time.monotonic()
    left_s, told_s = duration_s, 0.0
    console = Console(stderr=True)
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if console.is_terminal else None
        while left_s is None or left_s > 0:
            time.sleep(min(_LOOK_S, left_s or _LOOK_S))
            passed_s = time.monotonic() - start_s
            left_s = None if duration_s is None else duration_s - passed_s
            if live is not None:
                live.update(_shown(samplers, passed_s), refresh=True)
            elif aloud and passed_s - told_s >= 1.0:
                told_s = passed_s
                sys.stdout.writelines("  ".join(line) + "\n" for line in _lines(samplers, passed_s))
                sys.stdout.flush()


def _shown(samplers: Sequence[Sampler], passed_s: float) -> Text:
    from rich.text import Text  # noqa: PLC0415 - not needed for --help

    lines = ("  ".join(line) for line in _lines(samplers, passed_s))
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _lines(samplers: Sequence[Sampler], passed_s: float) -> Iterator[tuple[str, ...]]:
    """For each meter the time, its newest reading, how it fared and its URL: what may be cut off comes last."""
    from hardware.meters.survey import told  # noqa: PLC0415 - looks at hardware only when asked to

    for sampler in samplers:
        reading, counts = sampler.latest
        failed = sum(count for name, count in counts.items() if name.endswith("Error"))
        says = told(reading, sampler.latest_w) if reading else "no reading yet"
        yield f"{passed_s:7.1f} s", says, f"{counts['readings']} readings, {failed} failures", sampler.meter.url


def _write(out: Path, recordings: Sequence[Recording]) -> int:
    """Write the table of readings, and beside it what the meters are and what went wrong."""
    from functools import partial  # noqa: PLC0415 - not needed for --help

    from twin.records import MeterReadings  # noqa: PLC0415 - likewise
    from twin.runs.folder import replace_file, write_text  # noqa: PLC0415 - likewise
    from twin.runs.parquet import write_table  # noqa: PLC0415 - likewise

    table = MeterReadings.concatenate([recording.readings for recording in recordings])
    emulated = any(recording.facts.source == "emulated" for recording in recordings)
    replace_file(out, partial(write_table, table=table, source="emulated" if emulated else "measured"))
    notes = json.dumps([recording.to_json() for recording in recordings], indent=1) + "\n"
    write_text(out.with_name(f"{out.stem}.meters.json"), notes)
    for recording in recordings:
        sys.stdout.write(f"{out}: {recording.facts.url}: {len(recording.readings)} readings\n")
    _complain(recordings)
    return 0


def _complain(recordings: Sequence[Recording]) -> None:
    for recording in recordings:
        for complaint in recording.complaints():
            sys.stderr.write(f"warning: {complaint}\n")


def _watched(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("urls", nargs="+", metavar="URL", help="meter, such as tc66c:///dev/ttyACM0 or rapl://")
    parser.add_argument("--duration", type=_seconds, help="seconds after which to end (default: until Ctrl-C)")
    parser.add_argument("--period", type=_seconds, help="seconds between polls (default: what suits each meter)")


def _recorded(parser: argparse.ArgumentParser) -> None:
    _watched(parser)
    parser.add_argument("--out", type=Path, required=True, help="table to write, such as power.parquet")


def _replayed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", nargs="+", type=Path, metavar="FRAMES", help="file of raw frames of a recording")
    parser.add_argument("--out", type=Path, required=True, help="table to write, such as power.parquet")


def _seconds(text: str) -> float:
    """A positive number of seconds, for argparse."""
    try:
        value_s = float(text)
    except ValueError:
        value_s = 0.0
    if not 0.0 < value_s < float("inf"):
        raise MeterError(f"`{text}` is no number of seconds; give one above 0")
    return value_s


COMMANDS: dict[str, Command] = {
    "list": Command("show what this machine has that tells power", lambda _: None, _list),
    "watch": Command("show what meters say", _watched, _watch),
    "record": Command("write what meters say to a table", _recorded, _record),
    "replay": Command("decode the raw frames of a recording again", _replayed, _replay),
    "fit": Command(HELP, fit_arguments, fit),
}
"""Subcommands by name."""


if __name__ == "__main__":
    sys.exit(guarded(main))
