"""Reports on the wire: the same after the way, and refused where they are none."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from hardware.edge.report import Report
from twin.errors import TransportError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 10**6)
CONTINUUM = make_problem().continuum


def rows(*columns):
    return st.lists(st.tuples(*columns).map(list), max_size=4)


REPORTS = st.builds(
    Report,
    device=st.integers(0, 2),
    queue=WHOLE,
    lanes=rows(st.integers(0, 1), st.integers(0, 1), WHOLE),
    open=rows(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), NUMBERS, NUMBERS),
    links=rows(NUMBERS, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), NUMBERS, NUMBERS),
    stages=rows(NUMBERS, NUMBERS, NUMBERS),
    failed=rows(WHOLE, st.integers(0, 1)),
    dropped=rows(WHOLE, st.integers(0, 1)),
    silent=st.lists(st.integers(0, 1), max_size=2),
    plans=rows(WHOLE, st.integers(0, 1)),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(REPORTS)
def test_a_report_is_the_same_after_its_way(report):
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    report.check(CONTINUUM)


@given(st.sampled_from([field.name for field in fields(Report)]), JUNK)
def test_what_is_no_report_is_refused_and_nothing_else_happens(name, junk):
    data = Report(1, 0).to_json() | {name: junk}
    try:
        report = Report.from_json(data)
        report.check(CONTINUUM)
    except TransportError:
        return
    assert json.dumps(report.to_json(), allow_nan=False)


@given(JUNK)
def test_anything_may_come_in_place_of_a_report(junk):
    with pytest.raises(TransportError):
        Report.from_json(junk)


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": 3},
        {"device": -1},
        {"queue": -1},
        {"lanes": [[2, 0, 1]]},
        {"lanes": [[0, 2, 1]]},
        {"links": [[1.0, -1.0, 0.0, 5.0, 0.1]]},
        {"open": [[-1.0, 7.0, 0.1, 1.0]]},
        {"open": [[5.0, 0.0, 0.1, 1.0]]},
    ],
)
def test_a_report_of_places_that_do_not_exist_is_refused(wrong):
    report = Report.from_json({**Report(1, 0).to_json(), **wrong})
    with pytest.raises(TransportError, match="does not have"):
        report.check(CONTINUUM)
