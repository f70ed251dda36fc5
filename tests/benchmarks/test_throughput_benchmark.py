"""What a model cut in three gives in requests per second: `pytest tests/benchmarks -m quiet -s`.

With agents that only sleep, the testbed must reach the rate of its slowest stage: what it does beside the stages has to
overlap with them. With agents that compute, its rate stands beside that of `torch.distributed.pipelining` on the same
split, with the same threads, in turns; that is printed and not asserted, as the cores of a machine decide it.
"""

from statistics import median

import pytest
from throughput import machines, partition_of, pipelining_rps, play, rate_rps, stages_s, world_of

from twin.units import ms_from_s

pytestmark = pytest.mark.quiet

CLIENTS = 8
SLEEP_S, COMPUTE_S = 10.0, 8.0
AIM = 0.9
ROUNDS = 3
BATCH = 24
"""Requests of one step of PyTorch's pipelining."""


@pytest.mark.parametrize("model", ["mobilenet_v2", "vgg16"])
def test_sleeping_stages_give_the_rate_of_the_slowest(tmp_path, model):
    world, path = world_of(tmp_path, model, CLIENTS, SLEEP_S)
    bound_rps = 1 / max(stages_s(world, partition_of(world)))
    with machines(tmp_path, world, path, "sleep") as backend:
        found = [rate_rps(play(world, backend), CLIENTS, SLEEP_S) for _ in range(ROUNDS)]
    rates_rps = [rate for rate, _ in found]
    stages = " / ".join(f"{ms_from_s(x):.1f}" for x in stages_s(world, partition_of(world)))
    print(
        f"\n{model}, sleeping {stages} ms: {median(rates_rps):.2f} requests/s "
        f"({min(rates_rps):.2f} to {max(rates_rps):.2f}, n = {[n for _, n in found]}), "
        f"{median(rates_rps) / bound_rps:.3f} of the bound {bound_rps:.2f}",
        end="",
    )
    assert median(rates_rps) > AIM * bound_rps


@pytest.mark.parametrize("model", ["mobilenet_v2", "vgg16"])
def test_computing_beside_torch_pipelining(tmp_path, model):
    world, path = world_of(tmp_path, model, CLIENTS, COMPUTE_S)
    partition = partition_of(world)
    ours_rps, theirs_rps = [], []
    with machines(tmp_path, world, path, "none", direct=True) as backend:
        for _ in range(ROUNDS):
            ours_rps.append(rate_rps(play(world, backend), CLIENTS, COMPUTE_S)[0])
            theirs_rps += pipelining_rps(model, world.seed, partition, BATCH, 2)
    for name, rates_rps in (("testbed", ours_rps), ("torch.distributed.pipelining", theirs_rps)):
        print(
            f"\n{model}, computing, {name}: {median(rates_rps):.2f} requests/s "
            f"({min(rates_rps):.2f} to {max(rates_rps):.2f}, n = {len(rates_rps)})",
            end="",
        )
    assert min(ours_rps) > 0
