"""What the edge takes for lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from hardware.edge.presence import Presence
from twin.topology import Continuum, Link

CHAIN = make_problem().continuum
TRIANGLE = Continuum(CHAIN.devices, (Link(0, 1), Link(0, 2), Link(1, 2)))


def looked(presence, until_s, heard=(), step_s=0.1, start_s=0.0):
    """Review often enough, with machines that are heard each time; returns what was lost and came back, by time."""
    changes = []
    for step in range(round((until_s - start_s) / step_s)):
        now_s = start_s + (step + 1) * step_s
        for device in heard:
            presence.heard(device, now_s)
        lost, back = presence.review(now_s)
        if lost or back:
            changes.append((round(now_s, 6), set(lost), set(back)))
    return changes


def test_a_machine_that_is_silent_for_too_long_is_lost_once_and_back_once():
    presence = Presence(CHAIN, 1.0)
    changes = looked(presence, 1.5, heard=(1,))
    assert changes == [(1.1, {("device", 2)}, set())]
    assert list(presence.available) == [True, True, False]
    assert looked(presence, 2.0, heard=(1, 2), start_s=1.5) == [(1.6, set(), {("device", 2)})]
    assert presence.lost == frozenset()


def test_what_lies_behind_a_silent_link_is_lost_at_once():
    presence = Presence(CHAIN, 10.0)
    presence.review(0.1)
    presence.link(0, up=False)
    lost, _ = presence.review(0.2)
    assert lost == {("link", 0), ("device", 1), ("device", 2)}
    assert list(presence.link_up) == [False, True]
    presence.link(0, up=True)
    assert presence.review(0.3)[1] == lost


def test_where_there_is_another_way_only_the_link_is_lost():
    presence = Presence(TRIANGLE, 10.0)
    presence.link(0, up=False)
    assert presence.review(0.1)[0] == {("link", 0)}
    presence.link(2, up=False)
    assert presence.review(0.2)[0] == {("link", 2), ("device", 1)}


def test_the_edge_itself_is_never_lost():
    presence = Presence(CHAIN, 0.5)
    looked(presence, 3.0)
    assert list(presence.available) == [True, False, False]


def test_time_in_which_nobody_looked_is_no_silence():
    presence = Presence(CHAIN, 1.0)
    assert looked(presence, 0.5, heard=(1, 2)) == []
    assert presence.review(30.0) == (frozenset(), frozenset())
    # Only what is silent from then on is lost.
    assert [(time_s, lost) for time_s, lost, _ in looked(presence, 31.5, heard=(1,), start_s=30.0)] == [
        (31.1, {("device", 2)})
    ]


def test_nobody_is_heard_in_the_future():
    presence = Presence(CHAIN, 1.0)
    presence.heard(1, 5.0)
    presence.heard(2, 5.0)
    presence.review(5.0)
    assert looked(presence, 6.5, start_s=5.0)[0][0] <= 6.1


@given(st.lists(st.tuples(st.sampled_from(["hear", "up", "down", "wait"]), st.integers(0, 2)), max_size=40))
def test_what_is_lost_follows_from_what_was_heard(moves):
    presence, now_s = Presence(TRIANGLE, 1.0), 0.0
    heard_s, silent = [0.0] * 3, set()
    known = frozenset()
    for move, place in moves:
        now_s += 0.1 if move == "wait" else 0.01
        if move == "hear":
            presence.heard(place, now_s)
            heard_s[place] = now_s
        elif move != "wait":
            presence.link(place, up=move == "up")
            (silent.discard if move == "up" else silent.add)(place)
        lost, back = presence.review(now_s)
        known = (known | lost) - back
        assert known == presence.lost
        joined = [set(pair) for link, pair in enumerate(((0, 1), (0, 2), (1, 2))) if link not in silent]
        reached = {0}
        for _ in range(2):
            reached |= {end for pair in joined if pair & reached for end in pair}
        expected = {("link", link) for link in silent}
        expected |= {("device", k) for k in (1, 2) if k not in reached or now_s - heard_s[k] > 1.0}
        assert presence.lost == expected
        assert list(presence.available) == [("device", k) not in expected for k in range(3)]
        assert np.array_equal(presence.link_up, [("link", k) not in expected for k in range(3)])
