"""Changes of the partition, one word at a time."""

from __future__ import annotations

from worlds import make_problem

from hardware.edge.switching import Switch
from twin.partition import Partition

NONE = frozenset()


def partition(*placement):
    return Partition(tuple(placement), 3)


EDGE, SPLIT, FAR = partition(0, 0, 0, 0), partition(0, 0, 1, 2), partition(2, 2, 2, 2)


class Told:
    def __init__(self, **options):
        self.announced, self.active = [], []
        self.switch = Switch(
            make_problem(),
            lambda plan, devices: self.announced.append((plan.epoch, devices)),
            self.active.append,
            **options,
        )

    def begin(self, partition=EDGE):
        self.switch.to(partition, 0, 0.0, NONE)
        for device in self.switch._target.devices:
            self.switch.ready(device, 0, 0.0, 0)
        return self.switch


def test_a_plan_is_in_force_once_all_its_machines_are_ready():
    told = Told()
    switch = told.switch
    assert switch.holds(NONE)
    switch.to(SPLIT, 0, 0.0, NONE)
    assert told.announced == [(0, (0, 1, 2))]
    for device in (0, 2):
        switch.ready(device, 0, 1.0, 0)
    assert switch.plan is None
    switch.ready(1, 7, 1.0, 0)
    switch.ready(1, 0, 2.0, 0)
    assert switch.plan.partition == SPLIT
    assert not switch.holds(NONE)
    assert switch.log == [{"epoch": 0, "decided_s": 0.0, "ready_s": 2.0, "active_s": 2.0, "downtime_s": 0.0}]
    assert told.active == [0.0]


def test_the_same_decision_again_changes_nothing():
    told = Told()
    switch = told.begin()
    switch.to(EDGE, 0, 5.0, NONE)
    assert len(told.announced) == len(switch.log) == 1


def test_the_lost_are_not_waited_for():
    told = Told()
    switch = told.begin()
    switch.to(SPLIT, 1, 1.0, frozenset({("device", 2)}))
    assert told.announced[-1] == (1, (0, 1))
    switch.ready(0, 1, 1.1, 0)
    switch.gone({1}, 1.5, 0)
    assert switch.plan.epoch == 1


def test_a_machine_that_comes_back_is_told_what_it_must_have():
    told = Told()
    switch = told.begin(SPLIT)
    switch.to(FAR, 1, 1.0, NONE)
    switch.back(2, 2.0)
    assert told.announced[-2:] == [(0, (2,)), (1, (2,))]
    switch.back(1, 2.0)
    assert told.announced[-1] == (0, (1,))


def test_who_has_missed_a_plan_is_told_again_but_not_at_every_word():
    told = Told()
    switch = told.begin()
    switch.to(FAR, 1, 1.0, NONE)
    for step in range(25):
        switch.heard(2, [], 1.0 + step / 10, 0)
    assert told.announced.count((1, (2,))) == 3
    switch.heard(2, [[1, 0]], 60.0, 0)
    assert told.announced.count((1, (2,))) == 3
    switch.heard(2, [[1, 1]], 61.0, 0)
    assert switch.plan.epoch == 1


def test_pausing_holds_until_nothing_is_under_way():
    told = Told(mode="pause", downtime_s=0.5)
    switch = told.begin()
    switch.to(FAR, 1, 1.0, NONE)
    assert switch.holds(NONE)
    switch.ready(2, 1, 1.2, 3)
    assert switch.plan.epoch == 0
    switch.review(1.6, 0)
    assert switch.plan.epoch == 1
    assert not switch.holds(NONE)
    assert told.active[-1] == 2.1
    entry = switch.log[-1]
    assert (entry["ready_s"], entry["active_s"]) == (1.2, 1.6)
    assert round(entry["downtime_s"], 9) == 1.1


def test_requests_wait_where_the_plan_in_force_is_lost_and_another_is_on_its_way():
    told = Told()
    switch = told.begin(FAR)
    lost = frozenset({("device", 2)})
    assert not switch.holds(lost)
    switch.to(EDGE, 1, 1.0, lost)
    assert switch.holds(lost)
    assert not switch.holds(NONE)
