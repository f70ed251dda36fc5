"""What a coordinator may ask of a machine outside of any run: to measure a link, and to profile models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hardware.node.interval import Schedule
from hardware.node.prober import Prober
from hardware.transport.lane import Lane
from twin.errors import MachineError, TwinError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.node.node import Node
    from twin.profiles import Profile

_NO_PINGS_S = 3600.0
"""The lane's own pings would only lie in the way: empty messages tell the round trip."""


class Probing:
    """Takes the commands that measure a link; in the loop's thread.

    Args:
        node: The machine.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def start(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Forget any run, and measure the way to another machine by a schedule."""
        node, peer, endpoint = self._node, str(message["peer"]), str(message["endpoint"])
        schedule = Schedule(**message["schedule"])
        node.tear_down()
        credentials = node.credentials.towards(peer)
        node.prober = Prober(
            node.loop,
            lambda listener: Lane(
                node.loop, endpoint, f"{node.config.name}/probe", credentials, listener=listener, ping_s=_NO_PINGS_S
            ),
            schedule,
        )
        reply({})

    def tell(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Answer with the intervals that are over, from a given one on."""
        prober = self._node.prober
        if prober is None:
            raise MachineError(f"{self._node.config.name} measures no link; it was started anew, or serves a run")
        found = prober.intervals[int(message["since"]) : prober.complete]
        reply({"intervals": [interval.to_json() for interval in found], "state": prober.state})

    def end(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Stop measuring."""
        self._node.tear_down()
        reply({})


class Profiling:
    """Takes the commands that profile models, which happens in the builder's thread.

    Args:
        node: The machine.

    Attributes:
        progress: The model, the rounds that are done, and those that there are; None where nothing is profiled.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._found: dict[str, Any] | None = None
        self._done = 0
        self.progress: dict[str, Any] | None = None

    def start(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Forget any run, and begin to profile a model; `status` tells how far it is."""
        node, model = self._node, str(message["model"])
        node.config.check_model(model)
        if self.progress is not None:
            raise MachineError(f"{node.config.name} is profiling {self.progress['model']} already; wait for it")
        config = node.config
        threads = int(message["threads"] or config.torch_threads)
        device = message["device"] or config.accelerator
        node.tear_down()
        self._found, self._done = None, 0
        warm_up, repeats = int(message["warm_up"]), int(message["repeats"])
        self.progress = {"model": model, "done": 0, "rounds": warm_up + repeats}
        load_before = message["load_before"]

        def work() -> Profile:
            from hardware.models import build_model  # noqa: PLC0415 - imports torch
            from hardware.profile import Settings, profile_model  # noqa: PLC0415 - as above

            settings = Settings(
                config.name, threads, repeats, warm_up, device, int(message["batch"]), int(message["seed"])
            )
            made = build_model(model, settings.seed)
            return profile_model(made, model, settings, tick=self._tick, load_before=load_before)

        node.beside(work, self._finished)
        reply({})

    def tell(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Hand over the profile, or say what prevented it."""
        if self._found is None:
            raise MachineError(f"{self._node.config.name} has no profile to give; it was started anew")
        if "error" in self._found:
            raise MachineError(self._found["error"])
        reply({}, (json.dumps(self._found).encode(),))

    def _tick(self) -> None:
        # From the builder's thread: a number that only grows is read as it is.
        self._done += 1
        if self.progress is not None:
            self.progress["done"] = self._done

    def _finished(self, made: Profile | None, error: BaseException | None) -> None:
        self.progress = None
        if made is not None:
            self._found = made.to_json()
        elif isinstance(error, TwinError):
            self._found = {"error": str(error)}
        else:
            self._found = {"error": f"{type(error).__name__}: {error}"}
