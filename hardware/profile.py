"""Measure how long each layer of a model takes, on this machine or on those of a testbed.

`python -m hardware.profile --model all --name DEVICE --threads N --out data` writes one profile per model to
`<out>/profiles/DEVICE`; with `--testbed FILE` every machine of the file is measured by its agent, and DEVICE is its
name. What is timed, and in which order, is said in `hardware.timing`.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from hardware import host
from hardware.files import write_json
from hardware.models import INPUT_SHAPE, build_model, check_names, import_torch, use_float32
from hardware.steadiness import complaints, figures
from twin.cli import guarded
from twin.errors import MeasurementError
from twin.profiles import Profile, StageTime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from hardware.timing import Samples, Timer
    from hardware.tracing.trace import TracedModel

MIN_REPEATS = 30
"""Fewest repeats that give a 5th and a 95th percentile worth the name."""

_PARTS = (1, 2, 3, 4)
"""Numbers of equal parts, by layer count, whose stages are timed: the whole, halves, thirds and quarters."""

_METHOD = (
    "median of {repeats} interleaved rounds after {warm_up} of warm-up; in each round the whole model, every layer in "
    "topological order on activations of that pass, and stages of 1, 2, 3 and 4 equal parts on fresh copies of "
    "their inputs; time.perf_counter_ns, torch.inference_mode{wait}; random weights and random input, seed {seed}"
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure on, and how often.

    Attributes:
        name: Name of the device that the profile is filed under.
        threads: Threads that compute.
        repeats: Rounds that count.
        warm_up: Rounds before them that do not.
        device: Where torch computes.
        batch: Images per inference.
        seed: Seed of the weights and of the input.

    Raises:
        MeasurementError: A value is out of range.
    """

    name: str
    threads: int
    repeats: int = 50
    warm_up: int = 10
    device: Literal["cpu", "cuda"] = "cpu"
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MeasurementError(
                f"--name `{self.name}` cannot name a folder; use letters, digits, `.`, `-` and `_`, such as `my-laptop`"
            )
        for flag, value, least in (
            ("--threads", self.threads, 1),
            ("--repeats", self.repeats, MIN_REPEATS),
            ("--warm-up", self.warm_up, 1),
            ("--batch", self.batch, 1),
        ):
            if value < least:
                raise MeasurementError(f"{flag} is {value}; it must be at least {least}")


def profile_model(
    model: torch.nn.Module,
    model_name: str,
    settings: Settings,
    input_shape: Sequence[int] | None = None,
    timer: Timer | None = None,
    tick: Callable[[], object] = lambda: None,
    load_before: float | None = None,
) -> Profile:
    """Measure one model.

    Args:
        model: The model in eval mode; it is moved to the device.
        model_name: Its name, for the profile.
        settings: On what and how often.
        input_shape: Shape of the input; default `settings.batch` images of `INPUT_SHAPE`.
        timer: Times the calls; default this machine's clock, and on a GPU synchronised.
        tick: Called after every round, `warm_up + repeats` times.
        load_before: Load average before anything was measured; default that of now.

    Raises:
        GraphError: The model cannot be traced.
        MeasurementError: There is no such device.
    """
    torch = import_torch()
    from hardware.timing import Rounds, measure  # noqa: PLC0415 - imports torch
    from hardware.tracing.trace import trace  # noqa: PLC0415 - imports torch

    use_float32()
    timer = timer or default_timer(settings.device)
    shape = tuple(input_shape or (settings.batch, *INPUT_SHAPE[1:]))
    before = host.load_average() if load_before is None else load_before
    threads_before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        image = torch.rand(shape, generator=torch.Generator().manual_seed(settings.seed)).to(settings.device)
        traced = trace(model.to(settings.device), model_name, shape)
        spans = stage_spans(len(traced.graph))
        with torch.inference_mode():
            rounds = Rounds(model, traced, spans, image, timer)
        samples = measure(rounds, settings.repeats, settings.warm_up, tick)
    finally:
        torch.set_num_threads(threads_before)
    return _assemble(traced, settings, spans, samples, (before, host.load_average()))


def default_timer(device: str) -> Timer:
    """Return a timer on this machine's clock that waits for the device.

    Raises:
        MeasurementError: There is no such device.
    """
    torch = import_torch()
    from hardware.timing import Timer  # noqa: PLC0415 - imports torch

    if device == "cpu":
        return Timer()
    if not torch.cuda.is_available():
        raise MeasurementError("torch sees no CUDA device here; check the driver, or measure with --device cpu")
    return Timer(synchronise=torch.cuda.synchronize)


def stage_spans(n_layers: int) -> list[tuple[int, int]]:
    """Return start and stop of the stages to time: the parts of the whole, halves, thirds and quarters, each once."""
    bounds = [[round(k * n_layers / parts) for k in range(parts + 1)] for parts in _PARTS]
    spans = {(start, stop): None for cuts in bounds for start, stop in pairwise(cuts)}
    return [(start, stop) for start, stop in spans if start < stop]


def _assemble(
    traced: TracedModel,
    settings: Settings,
    spans: Sequence[tuple[int, int]],
    samples: Samples,
    loads: tuple[float | None, float | None],
) -> Profile:
    from hardware.timing import quantiles  # noqa: PLC0415 - imports torch

    layers = tuple(quantiles(column_s) for column_s in samples.layers_s.T)
    stages = tuple(
        StageTime(start, stop, quantiles(column_s), round(sum(layer.median_s for layer in layers[start:stop]), 9))
        for (start, stop), column_s in zip(spans, samples.stages_s.T, strict=True)
    )
    return Profile(
        device=settings.name,
        model=traced.graph.model,
        names=tuple(layer.name for layer in traced.graph.layers),
        layers=layers,
        whole_model=quantiles(samples.whole_s),
        stages=stages,
        additivity=round(float(np.median([stage.time.median_s / stage.sum_of_layers_s for stage in stages])), 6),
        threads=settings.threads,
        batch=settings.batch,
        provenance=_provenance(settings, samples, loads),
    )


def _provenance(settings: Settings, samples: Samples, loads: tuple[float | None, float | None]) -> dict[str, Any]:
    facts = host.host_facts(settings.device)
    steadiness = figures(samples.whole_s, loads[0], facts["cores"])
    wait = ", torch.cuda.synchronize around each call, cudnn.benchmark off" if settings.device == "cuda" else ""
    return {
        "date": host.today(),
        "method": _METHOD.format(repeats=settings.repeats, warm_up=settings.warm_up, seed=settings.seed, wait=wait),
        "host": facts,
        "torch_device": settings.device,
        "load_average_before": loads[0],
        "load_average_after": loads[1],
        "steadiness": steadiness,
        "unsteady": complaints(steadiness),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure models and write their profiles."""
    options = _parser().parse_args(arguments)
    names = check_names(options.model)
    if options.testbed is None and (options.name is None or options.threads is None):
        raise MeasurementError("--name and --threads are needed to measure this machine; or give --testbed FILE")
    settings = Settings(
        options.name or "testbed",
        1 if options.threads is None else options.threads,
        options.repeats,
        options.warm_up,
        cast("Literal['cpu', 'cuda']", options.device or "cpu"),
        options.batch,
        options.seed,
    )
    if options.testbed is not None:
        from hardware.coordinator.profiling import Wish, with_progress  # noqa: PLC0415 - not needed for --help
        from hardware.inventory import read_inventory  # noqa: PLC0415 - as above

        wish = Wish(tuple(options.model), options.threads, options.device, settings)
        for profile in with_progress(read_inventory(options.testbed), wish, options.name):
            _write(profile, options.out)
        return 0
    # The whole list is refused before the first model has run for minutes.
    default_timer(settings.device)
    # Read once: before the second model it would be the load that measuring the first one made.
    load_before = host.load_average()
    for name in names:
        _write(_with_progress(name, settings, load_before), options.out)
    return 0


def _write(profile: Profile, out: Path) -> None:
    path = out / "profiles" / profile.device / f"{profile.model}.json"
    write_json(path, profile.to_json())
    sys.stdout.write(f"{path}: {_summary(profile)}\n")
    for complaint in profile.provenance["unsteady"]:
        sys.stderr.write(f"warning: {profile.model}: {complaint}\n")


def _with_progress(name: str, settings: Settings, load_before: float | None) -> Profile:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.progress import Progress  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=settings.warm_up + settings.repeats)
        model = build_model(name, settings.seed)
        return profile_model(model, name, settings, tick=lambda: progress.advance(task), load_before=load_before)


def _summary(profile: Profile) -> str:
    whole = profile.whole_model
    return f"{len(profile.layers)} layers, whole model {whole.median_s:.6f} s, additivity {profile.additivity:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hardware.profile",
        description="Measure the layers of models, on this machine or on those of a testbed.",
    )
    parser.add_argument(
        "--model", action="extend", nargs="+", required=True, help="one or more models, or `all`; may be repeated"
    )
    parser.add_argument(
        "--testbed", type=Path, metavar="FILE", help="measure the machines of this file, each under its name"
    )
    parser.add_argument(
        "--name", help="name of this device, such as raspberry-pi-5; with --testbed, the one machine to measure"
    )
    parser.add_argument(
        "--threads", type=int, help="threads that compute (with --testbed, default: as its file and agent.yaml say)"
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="data folder (default: data)")
    parser.add_argument(
        "--repeats", type=int, default=50, help=f"rounds that count, at least {MIN_REPEATS} (default: 50)"
    )
    parser.add_argument("--warm-up", type=int, default=10, help="rounds before them that do not (default: 10)")
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="where to compute (default: cpu; with --testbed, as its file and agent.yaml say)",
    )
    parser.add_argument("--batch", type=int, default=1, help="images per inference (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and input (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
