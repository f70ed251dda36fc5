"""Whether the answers of a split are those of the whole model: which are checked, how, and what a wrong one becomes.

Checked are the first answer of each plan epoch and 1 % of the rest, at least five in all. The choice depends on the
seed and the numbers of the requests alone, so that it can be made while answers come in and again from the records.

Where every stage and the check run the same kernels, the answers must be equal bit by bit: cutting a model changes
nothing, nor does sending tensors as bytes (docs/testbed.md has the figures). Other processors, numbers of threads and
GPUs add up the same products in another order. The largest difference from that, in proportion to the largest number of
the answer, was 3.3e-6 over all eight models, while answers to two different inputs never came closer than 8.6e-3:
`TOLERANCE` lies a factor of 30 above the one and 80 below the other. It holds for float32; a GPU that rounds the
factors of its products to TF32 is off by up to 7e-3, too near to a wrong answer to be told from it.
"""

from __future__ import annotations

import heapq
import platform
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from hardware.host import cores, cpu_model
from twin.records import Outcome, Reason
from twin.workload import stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hardware.inputs import Pool
    from twin.records import Requests

TOLERANCE = 1e-4
"""Largest difference, in proportion to the largest number of the whole model's answer, where kernels differ."""
SHARE = 0.01
"""Share of the requests, beside the first of each epoch, that are checked."""
LEAST = 5
"""Fewest requests that are checked, if so many were answered."""
_PURPOSE = 1000
"""Number of the random stream that chooses them; `twin.workload` numbers its own from 0."""
_BLOCK = 1024

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Kernels:
    """What decides in which order a machine adds up; machines that are equal here give equal bits.

    Attributes:
        processor: Architecture, name and widest instructions.
        cores: Cores that the process may use.
        threads: Threads that torch computes with.
        torch: Version of torch.
        accelerator: `cpu`, or the name of the graphics card.
    """

    processor: str
    cores: int
    threads: int
    torch: str
    accelerator: str = "cpu"

    @classmethod
    def here(cls, threads: int, accelerator: str = "cpu") -> Kernels:
        """Those of this process.

        Args:
            threads: Threads that torch computes with.
            accelerator: `cpu` or `cuda`.
        """
        capability = torch.backends.cpu.get_cpu_capability()
        processor = f"{platform.machine()} {cpu_model()} {capability}"
        name = torch.cuda.get_device_name() if accelerator == "cuda" else accelerator
        return cls(processor, cores(), threads, version("torch"), name)


def tolerance(machines: Iterable[Kernels]) -> float:
    """Largest difference allowed between machines, the one that checks among them: 0 if all run the same kernels."""
    return 0.0 if len(set(machines)) == 1 else TOLERANCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of one answer found.

    Attributes:
        replication: Number of the replication.
        request: Number of the request within it.
        epoch: The plan epoch of the answer.
        ok: Whether the answer is the whole model's.
        difference: Largest difference, in proportion to the largest number of the whole model's answer; None if the
            answer has another shape or type, or holds what is no number.
        tolerance: Largest difference allowed.
    """

    replication: int
    request: int
    epoch: int
    ok: bool
    difference: float | None
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Checker:
    """Holds answers against the whole model's.

    Args:
        model: The whole model in eval mode, with the weights of the machines.
        pool: The inputs of the run.
        tolerance: Largest difference allowed, by the function `tolerance`.
        threads: Threads to compute with: those of the machines, where they are all the same.
    """

    def __init__(self, model: torch.nn.Module, pool: Pool, tolerance: float, threads: int = 1) -> None:
        self._model, self._pool, self._tolerance, self._threads = model, pool, tolerance, threads
        self._expected: dict[int, torch.Tensor] = {}

    def check(self, replication: int, request: int, epoch: int, answer: torch.Tensor) -> Verdict:
        """Compare one answer."""
        gap = difference(answer, self.expected(request))
        ok = gap is not None and gap <= self._tolerance
        return Verdict(replication, request, epoch, ok, gap, self._tolerance)

    def expected(self, request: int) -> torch.Tensor:
        """The whole model's answer to the input of a request."""
        position = self._pool.position(request)
        if position not in self._expected:
            with _threads(self._threads), torch.inference_mode():
                # A copy: a model may work on its input in place.
                self._expected[position] = self._model(self._pool.tensors[position].clone())
        return self._expected[position]


def difference(answer: torch.Tensor, expected: torch.Tensor) -> float | None:
    """Largest difference in proportion to the largest number expected; None where there is none to speak of."""
    if answer.shape != expected.shape or answer.dtype != expected.dtype or not bool(answer.isfinite().all()):
        return None
    largest = float(expected.abs().max())
    gap = float((answer.double() - expected.double()).abs().max())
    return gap / largest if largest else gap


class Keeper(Generic[Answer]):
    """Keeps, while answers come in, those that `chosen` will ask for, and at most `LEAST` more.

    Args:
        seed: Seed of the run.
        replication: Number of the replication.
    """

    def __init__(self, seed: int, replication: int) -> None:
        self._luck = _Luck(seed, replication)
        self._first: dict[int, int] = {}
        self._drawn: set[int] = set()
        self._luckiest: list[tuple[float, int]] = []
        self.answers: dict[int, Answer] = {}
        """The answers kept, by request."""

    def offer(self, request: int, epoch: int, answer: Answer) -> None:
        """Keep an answer or not, and let go what is not needed any more because of it."""
        self.answers[request] = answer
        first = self._first.get(epoch, request)
        self._first[epoch] = min(first, request)
        luck = self._luck.of(request)
        if luck < SHARE:
            self._drawn.add(request)
        heapq.heappush(self._luckiest, (-luck, request))
        dropped = heapq.heappop(self._luckiest)[1] if len(self._luckiest) > LEAST else request
        for other in {first, dropped, request}:
            if not self._needs(other):
                self.answers.pop(other, None)

    def _needs(self, request: int) -> bool:
        lucky = request in self._drawn or any(request == other for _, other in self._luckiest)
        return lucky or request in self._first.values()


def chosen(requests: Requests, seed: int) -> np.ndarray:
    """Rows of the requests whose answers are checked, ascending.

    Per replication: the first answered request of each plan epoch, 1 % of the others, and more where these are fewer
    than five.

    Args:
        requests: What became of the requests.
        seed: Seed of the run.
    """
    rows = [np.empty(0, dtype=np.int64)]
    for replication in np.unique(requests.replication):
        answered = np.flatnonzero((requests.replication == replication) & requests.completed)
        numbers, epochs = requests.request[answered], requests.epoch[answered]
        luck = _Luck(seed, int(replication)).all(numbers)
        in_order = np.lexsort((numbers, epochs))
        firsts = in_order[np.unique(epochs[in_order], return_index=True)[1]]
        wanted = luck < SHARE
        wanted[firsts] = True
        spare = np.flatnonzero(~wanted)
        missing = max(LEAST - int(wanted.sum()), 0)
        wanted[spare[np.argsort(luck[spare], kind="stable")[:missing]]] = True
        rows.append(answered[wanted])
    return np.concatenate(rows)


def failed(requests: Requests, verdicts: Sequence[Verdict]) -> Requests:
    """The requests, those with a wrong answer failed as a mismatch; when their answers came stays."""
    wrong = {(verdict.replication, verdict.request) for verdict in verdicts if not verdict.ok}
    pairs = zip(requests.replication.tolist(), requests.request.tolist(), strict=True)
    mask = np.fromiter((pair in wrong for pair in pairs), dtype=bool, count=len(requests))
    return replace(
        requests,
        outcome=np.where(mask, Outcome.FAILED, requests.outcome).astype(requests.outcome.dtype),
        reason=np.where(mask, Reason.MISMATCH, requests.reason).astype(requests.reason.dtype),
    )


class _Luck:
    """A number in [0, 1) per request, the same in whatever order they are asked for."""

    def __init__(self, seed: int, replication: int) -> None:
        self._stream = stream(seed, replication, _PURPOSE)
        self._drawn = np.empty(0)

    def of(self, request: int) -> float:
        if request >= len(self._drawn):
            n_blocks = request // _BLOCK + 1 - len(self._drawn) // _BLOCK
            self._drawn = np.concatenate([self._drawn, self._stream.random(n_blocks * _BLOCK)])
        return float(self._drawn[request])

    def all(self, requests: np.ndarray) -> np.ndarray:
        if len(requests):
            self.of(int(requests.max()))
        return np.asarray(self._drawn[requests])


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
