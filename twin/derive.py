"""Derives profiles from the times of whole models: `python -m twin.derive [FILE ...] [--out data]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.graph import LayerGraph
    from twin.profiles import Profile


def write_profile(profile: Profile, folder: Path) -> Path:
    """Write `<device>/<model>.json` with one layer per line.

    Returns:
        Its path.

    Raises:
        ProfileError: The folder cannot be written.
    """
    data = profile.to_json()
    layers = ",\n".join(f"  {json.dumps(layer)}" for layer in data.pop("layers"))
    head = json.dumps(data, indent=1, allow_nan=False).removesuffix("\n}")
    path = folder / profile.device / f"{profile.model}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{head},\n "layers": [\n{layers}\n ]\n}}\n', encoding="utf-8", newline="\n")
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return path


def load_graphs(folder: Path) -> dict[str, LayerGraph]:
    """Read every layer graph of a folder.

    Raises:
        ProfileError: The folder holds none.
        GraphError: One of them is malformed.
    """
    from twin.graph import load_graph  # noqa: PLC0415 - `--help` needs none of it

    graphs = {graph.model: graph for graph in map(load_graph, sorted(folder.glob("*.json")))}
    if not graphs:
        raise ProfileError(f"{folder}: holds no layer graphs; write them with `python -m hardware.stages`")
    return graphs


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
        arguments: The arguments, or None for those of the process.

    Returns:
        The exit status.

    Raises:
        TwinError: A file is missing or malformed, or cannot be written.
    """
    options = _options(arguments)
    from twin.derivation.benchmarks import read_benchmarks  # noqa: PLC0415 - `--help` needs none of it
    from twin.derivation.profiles import derive, profile_of  # noqa: PLC0415
    from twin.derivation.table import show  # noqa: PLC0415

    paths = options.benchmarks or sorted((options.out / "benchmarks").glob("*.yaml"))
    if not paths:
        raise ProfileError(f"{options.out / 'benchmarks'}: holds no benchmarks; name a file")
    graphs = load_graphs(options.models or options.out / "models")
    for derivation in [derive(read_benchmarks(path), graphs) for path in paths]:
        show(derivation)
        written = [write_profile(profile_of(derivation, graph), options.out / "profiles") for graph in graphs.values()]
        sys.stdout.write(f"wrote {len(written)} profiles to {written[0].parent}\n\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m twin.derive",
        description="Derive layer profiles of a device from the times of whole models.",
    )
    parser.add_argument(
        "benchmarks", type=Path, nargs="*", metavar="FILE", help="benchmark files (default: all in OUT/benchmarks)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="data folder; profiles go to OUT/profiles (default: data)"
    )
    parser.add_argument("--models", type=Path, help="folder of the layer graphs (default: OUT/models)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(guarded(main))
