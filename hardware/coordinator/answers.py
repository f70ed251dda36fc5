"""Whether the answers of a run are those of the whole model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twin.partition import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from hardware.coordinator.collect import Collected
    from hardware.inputs import Pool
    from hardware.node.weights import WeightsFile
    from hardware.verify import Checker
    from twin.records import RunResult
    from twin.world import World


class Answers:
    """Holds the whole model, and answers of runs against it.

    Attributes:
        right: Answers that were found right, by position of their input.

    Args:
        world: The scenario.
        pool: The inputs.
        machines: What the machines said when they were set up.
        weights: The file of the weights on this machine; None for random ones of the scenario's seed.
    """

    def __init__(
        self, world: World, pool: Pool, machines: Sequence[Mapping[str, Any]], weights: WeightsFile | None = None
    ) -> None:
        self._world, self._pool, self._weights = world, pool, weights
        self._sleeping = {k for k, machine in enumerate(machines) if machine["emulate"] == "sleep"}
        self._computing = [machine for machine in machines if machine["emulate"] != "sleep"]
        self._checker: Checker | None = None
        self.right: dict[int, torch.Tensor] = {}

    def check(self, collected: Collected) -> RunResult:
        """Check the answers that were kept; a wrong one fails its request.

        Returns:
            The run, with what was found under `facts["checked"]`.

        Raises:
            MachineError: The weights are not those of the machines.
        """
        result = collected.result
        partitions = {entry["epoch"]: Partition.from_json(entry["partition"]) for entry in result.decisions}
        checkable = [
            (request, epoch, tensors)
            for request, epoch, tensors in collected.answers
            if not self._sleeping.intersection(stage.device for stage in partitions[epoch].visited)
        ]
        facts: dict[str, Any] = {"kept": len(collected.answers), "checked": len(checkable), "wrong": []}
        if checkable:
            result, verdicts = self._verdicts(result, checkable)
            facts["wrong"] = [verdict for verdict in verdicts if not verdict["ok"]]
            facts["worst_difference"] = max(
                (x["difference"] for x in verdicts if x["difference"] is not None), default=None
            )
            facts["tolerance"] = verdicts[0]["tolerance"]
        if len(checkable) < len(collected.answers):
            names = ", ".join(self._world.problem.continuum.names[k] for k in sorted(self._sleeping))
            facts["unchecked"] = f"{names}: only sleeps, so that answers which came by way of it mean nothing"
        caveats = [*result.facts["caveats"], *self._caveats(facts)]
        return replace(result, facts={**result.facts, "checked": facts, "caveats": caveats})

    def _caveats(self, facts: Mapping[str, Any]) -> list[str]:
        """What a reader should know of the checks; nothing where all answers could be checked and were right."""
        said = []
        if facts["wrong"]:
            n_wrong = len(facts["wrong"])
            said.append(f"{n_wrong} of {facts['checked']} checked answers are wrong: their requests failed.")
        if "unchecked" in facts:
            said.append("Answers that came by way of a machine that only waits mean nothing and were not checked.")
        return said

    def _verdicts(
        self, result: RunResult, answers: Sequence[tuple[int, int, list[bytes]]]
    ) -> tuple[RunResult, list[dict[str, Any]]]:
        import torch  # noqa: PLC0415 - slow to import

        from hardware.verify import failed  # noqa: PLC0415 - imports torch

        checker = self._checker or self._make_checker()
        graph = self._world.problem.graph
        shape = next(layer.output_shape for layer in graph.layers if layer.name == graph.outputs[0])
        replication = int(result.requests.replication[0])
        verdicts = []
        for request, epoch, tensors in answers:
            answer = torch.frombuffer(bytearray(tensors[0]), dtype=getattr(torch, graph.dtype)).reshape(shape)
            verdicts.append(checker.check(replication, request, epoch, answer))
            if verdicts[-1].ok:
                self.right[self._pool.position(request)] = answer
        return replace(result, requests=failed(result.requests, verdicts)), [verdict.to_json() for verdict in verdicts]

    def _make_checker(self) -> Checker:
        from hardware.node.weights import check_same, digest, load_model  # noqa: PLC0415 - imports torch
        from hardware.verify import Checker, Kernels, tolerance  # noqa: PLC0415 - as above

        model_name = self._world.problem.graph.model
        model = load_model(model_name, self._world.seed, self._weights)
        digests = {machine["name"]: machine["weights"] for machine in self._computing}
        check_same({**digests, "this machine": digest(model)}, model_name)
        threads = self._computing[0]["threads"]
        kernels = [Kernels(**machine["kernels"]) for machine in self._computing]
        self._checker = Checker(model, self._pool, tolerance([Kernels.here(threads), *kernels]), threads)
        return self._checker
