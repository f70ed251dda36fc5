"""The HTML report: that it needs nothing else, says what it rests on, and draws what happened."""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from results import fading_results, fading_world, make_decision, make_requests, make_result, make_run, make_spans
from worlds import DEVICES, LAYER_TIME_S, make_problem, make_workload, make_world

from twin.errors import RunFolderError
from twin.metrics import summarise
from twin.partition import Partition, thirds
from twin.places import mean_rate_bps
from twin.problem import SwitchCost
from twin.report import binning, render, write_report
from twin.report.drawing import INK, device_colour, look
from twin.report.facts import device_rows, link_rows, scenario_rows
from twin.report.figures import pictures
from twin.report.headline import headline
from twin.steps import Steps
from twin.topology import DOWN, UP, Continuum
from twin.traces import LinkTrace
from twin.world import Control, Fault, PolicySpec

VOID = {"meta", "br", "img", "link", "input", "hr"}


@pytest.fixture(scope="module")
def world():
    return fading_world()


@pytest.fixture(scope="module")
def results(world):
    return fading_results(world)


@pytest.fixture(scope="module")
def summary(world, results):
    return summarise(world, results)


@pytest.fixture(scope="module")
def page(world, results, summary):
    return render(world, results, summary)


@pytest.fixture(scope="module")
def text(page):
    return visible(page)


def visible(page):
    bare = re.sub(r"<(style|title)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare))


class Balance(HTMLParser):
    """Collects tags that were not closed and ids."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.ids = [], [], Counter()

    def handle_starttag(self, tag, attributes):
        self.ids.update(value for name, value in attributes if name == "id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.ids.update(value for name, value in attributes if name == "id")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


class TestPage:
    def test_needs_nothing_else(self, page):
        assert "://" not in page
        assert "<script" not in page
        assert "<link" not in page
        assert "@import" not in page
        assert all(ref.startswith(("#", "data:")) for ref in re.findall(r'(?:href|src)="([^"]*)"', page))
        assert all(ref.startswith("#") for ref in re.findall(r"url\(([^)]*)\)", page))

    def test_is_well_formed(self, page):
        balance = Balance()
        balance.feed(page)
        assert not balance.wrong
        assert not balance.open
        assert [name for name, n in balance.ids.items() if n > 1] == []

    def test_same_run_same_page(self, page, world, results, summary):
        assert render(world, results, summary) == page

    def test_takes_the_colours_of_the_page(self, page):
        assert INK not in page
        assert "currentColor" in page
        assert "prefers-color-scheme: dark" in page

    def test_says_what_it_rests_on(self, text):
        for part in (
            "Does adapting pay when the WiFi fades?",
            "simulated",
            "3 replications",
            "seed 1",
            "tiny: 4 layers",
            "poisson, 4 requests/s, until 30 s",
            "score = 0.5 × latency / 100 ms + 0.5 × energy / 7.65 J",  # noqa: RUF001 - as shown
            "deadline 250 ms",
            "none: stage times are their medians",
            "synthetic",
            "pi ↔ laptop walk derived full 3 to 20",
            "node energy, J per completed request",
        ):
            assert part in text

    def test_lists_switches_with_reasons(self, text):
        assert "adaptive : 6 switches in 9 decisions" in text
        assert "11.00 pi 0-3 the link changed: 12.0 % better than staying" in text
        assert "static : 0 switches" in text

    def test_long_lists_are_cut_and_say_so(self, world, summary):
        plans = [(0.4 * i, Partition.on_device(4, i % 2, 3)) for i in range(70)]
        flapping = make_result(world, "adaptive", plans)
        shown = visible(render(world, [flapping], summarise(world, [flapping])))
        assert "207 switches in 210 decisions; the first and last 25 of 210 plans are shown" in shown

    def test_what_people_write_is_escaped(self, results):
        odd = fading_world(question="<script>alert(1)</script> & more?")
        shown = render(odd, results, summarise(odd, results))
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more?" in shown

    def test_every_figure_names_n_source_and_unit(self, world, results, summary):
        drawn = pictures(world, results, summary)
        assert [picture.name for picture in drawn] == ["time", "latencies", "energy", "layers"]
        for picture in drawn:
            assert "source: simulated" in picture.caption
            assert re.search(r"n = \d+|replication \d", picture.caption)
        units = (" ms", "(ms)", "Joules", "layers")
        assert all(unit in picture.caption for unit, picture in zip(units, drawn, strict=True))

    def test_the_figure_over_time_counts_the_warm_up_that_it_shows(self, world):
        problem = world.problem
        requests = make_requests([0.5, 1.0, 3.0], [0.6, 1.1, 3.1], [0, 0, 0], warm_up_s=2.0)
        run = make_run(world, requests, make_spans([]), [make_decision(0.0, problem.on_device(0))])
        time, latencies = pictures(world, [run], summarise(world, [run]))[:2]
        assert "n = 3 answered" in time.caption
        assert "n = 1 answered" in latencies.caption

    def test_written_to_a_file(self, page, world, results, summary, tmp_path):
        write_report(tmp_path / "out" / "report.html", world, results, summary)
        assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == page
        figures = sorted((tmp_path / "out" / "figures").iterdir())
        assert len(figures) == page.count("<figure")
        for path in figures:
            root = ET.fromstring(path.read_text(encoding="utf-8"))
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert "source: simulated" in path.read_text(encoding="utf-8")
        (tmp_path / "file").write_text("")
        with pytest.raises(RunFolderError, match="cannot be written"):
            write_report(tmp_path / "file" / "report.html", world, results, summary)


class TestOddRuns:
    def test_nothing_answered(self):
        world = make_world()
        decision = make_decision(0.0, thirds(4, 3))
        run = make_run(world, make_requests([0.0, 1.0], [np.nan, np.nan], [3, 3]), make_spans([]), [decision])
        summary = summarise(world, [run])
        assert "No policy answered a single request." in visible(render(world, [run], summary))
        assert [picture.name for picture in pictures(world, [run], summary)] == []

    def test_no_request_at_all(self):
        world = make_world()
        run = make_run(world, make_requests([], [], []), make_spans([]))
        assert "No policy answered" in visible(render(world, [run], summarise(world, [run])))

    def test_some_requests_lost(self, world):
        run = make_result(world, "static", [(0.0, thirds(4, 3))], lost=40)
        shown = visible(render(world, [run], summarise(world, [run])))
        assert "never answered" in shown
        assert "lost, %" in shown

    def test_one_device_without_links(self):
        problem = make_problem(
            continuum=Continuum(DEVICES[:1], ()),
            layer_time_s=LAYER_TIME_S[:1],
            stage_overhead_s=np.zeros(1),
            codec_s_per_byte=np.zeros(1),
            links=(),
        )
        work = make_workload(kind="periodic", clients=0, rate_rps=2.0, requests=60)
        world = make_world(problem=problem, links=(), workload=work)
        run = make_result(world, "static", [(0.0, problem.on_device(0))])
        drawn = pictures(world, [run], summarise(world, [run]))
        assert [picture.name for picture in drawn] == ["time", "latencies", "energy"]

    def test_power_unknown_leaves_out_the_energy(self, world, results):
        devices = tuple(replace(device, power=None) for device in world.problem.continuum.devices)
        continuum = replace(world.problem.continuum, devices=devices)
        blind = replace(world, problem=replace(world.problem, continuum=continuum))
        summary = summarise(blind, results)
        assert "energy" not in [picture.name for picture in pictures(blind, results, summary)]
        assert "power of pi, laptop and pc is not known" in visible(render(blind, results, summary))

    def test_a_trace_that_ends_and_a_fault(self, world):
        up = Steps((0.0, 10.0), (20e6, 3e6), "error", 20.0)
        ending = LinkTrace("short", up, up, Steps.constant(0.004))
        short = replace(world, links=(ending, world.links[1]), faults=(Fault("link_down", 0, 2.0, 4.0),))
        edges_s = np.array([0.0, 2.0, 3.0, 5.0, 19.0, 25.0])
        rates = mean_rate_bps(short, 0, UP, edges_s)
        np.testing.assert_allclose(rates, [20e6, 0.0, 10e6, (5 * 20e6 + 9 * 3e6) / 14, np.nan])
        results = [make_result(world, "static", [(0.0, thirds(4, 3))])]
        render(short, results, summarise(short, results))

    def test_a_lost_device_takes_its_links_along(self, world):
        lost = replace(world, faults=(Fault("device_down", 2, 0.0, 1.0),))
        edges_s = np.array([0.0, 1.0, 2.0])
        assert mean_rate_bps(lost, 1, DOWN, edges_s).tolist() == [0.0, 100e6]
        assert mean_rate_bps(lost, 0, UP, edges_s).tolist() == [20e6, 20e6]


class TestHeadline:
    def test_names_the_best_and_the_difference(self, summary):
        sentence = headline(summary)
        assert sentence.startswith("`pi-only` does best by the score: 128 ms on average against 968 ms with `static`")
        assert "J per request against" in sentence
        assert "better in 3 of 3. But the least node energy is that of `static`, 7.13 J against 7.63 J." in sentence

    def test_first_is_best(self, world, results):
        sentence = headline(summarise(world, [results[2], results[0]]))
        assert sentence.startswith("No policy does better than `pi-only`: 128 ms")
        assert "`static` - `pi-only` is +" in sentence

    def test_an_oracle_is_no_answer(self, world, results):
        specs = (*world.policies[:2], PolicySpec("pi-only", "clairvoyant", {}))
        oracle = replace(world, policies=specs)
        assert headline(summarise(oracle, results)).startswith("`adaptive` does best")

    def test_alone(self, world, results):
        sentence = headline(summarise(world, results[:1]))
        assert sentence.startswith("`static` answers in 968 ms on average, for 7.13 J per request (node).")
        assert sentence.endswith("There is no other policy to compare it with.")

    def test_luck_is_called_luck(self):
        world = fading_world(replications=1)
        assert "one replication cannot tell this from luck." in headline(summarise(world, fading_results(world)))

    def test_too_small_a_difference(self, world, results, summary):
        policies = tuple(
            replace(
                policy, figures=tuple(replace(x, score=score) for x, score in zip(policy.figures, scores, strict=True))
            )
            for policy, scores in zip(summary.policies[:2], [(1.0, 1.0, 1.0), (0.9, 1.05, 0.99)], strict=True)
        )
        assert headline(replace(summary, policies=policies)).endswith("3 replications cannot tell this from luck.")

    def test_the_same(self, world, results):
        twin = replace(results[0], label="adaptive")
        sentence = headline(summarise(world, [results[0], twin]))
        assert sentence.startswith("No policy does better than `static`")
        assert sentence.endswith("the same in 3 of 3.")


class TestFacts:
    def test_devices(self, world):
        profiles = (replace(world.profiles[0], source="derived", extrapolated=True, threads=4), *world.profiles[1:])
        rows = device_rows(replace(world, profiles=profiles))
        assert rows[0][:6] == ["pi", "edge", "extrapolated", "pi", "4", "100"]
        assert rows[0][-4:] == ["3", "12", "4", "3.5"]

    def test_links(self, world):
        assert link_rows(world)[0] == ["pi ↔ laptop", "walk", "derived", "full", "3 to 20", "1.5 to 10", "4"]

    @pytest.mark.parametrize(
        ("changes", "name", "expected"),
        [
            ({}, "control", "a decision every 1 s"),
            ({"control": Control(None, 50)}, "control", "a decision before every 50 arrivals"),
            ({"faults": (Fault("link_down", 0, 1.0, 2.5),)}, "faults", "pi ↔ laptop down from 1 to 2.5 s"),
            ({"faults": (Fault("device_slow", 1, 1.0, 2.0, 3.0),)}, "faults", "laptop slower by 3 from 1 to 2 s"),
            ({"dispersion": np.array([0.1, 0.0, 0.25])}, "noise", "pi 0.100, laptop 0, pc 0.250"),
        ],
    )
    def test_scenario(self, world, results, summary, changes, name, expected):
        assert expected in dict(scenario_rows(replace(world, **changes), results, summary))[name]

    def test_switch_cost(self, world, results, summary):
        dear = replace(world, problem=replace(world.problem, switch=SwitchCost(0.25, 2, 1.5)))
        expected = "250 ms of downtime, 1.5 J per device that gains layers, weights come from pc over the links"
        assert dict(scenario_rows(dear, results, summary))["switch cost"] == expected

    @pytest.mark.parametrize(
        ("workload", "expected"),
        [
            (
                {"kind": "closed", "clients": 1, "requests": 10},
                "closed loop of 1 client, think time 0 s, until 10 requests",
            ),
            ({"kind": "replay", "times_s": np.arange(3.0), "requests": None}, "replay of 3 arrival times"),
            ({"warm_up_s": 2.0, "warm_up_requests": 5}, "warm-up of 2 s and 5 requests is not counted"),
        ],
    )
    def test_workloads(self, results, summary, workload, expected):
        rows = scenario_rows(make_world(workload=make_workload(**workload)), results, summary)
        assert expected in dict(rows)["arrivals"]


class TestBinning:
    def test_quantiles_of_bins_are_those_of_numpy(self):
        random = np.random.default_rng(5)
        t_s, values = random.uniform(-1.0, 12.0, 500), random.exponential(1.0, 500)
        edges_s = np.array([0.0, 1.0, 1.5, 4.0, 10.0])
        found = binning.binned_quantiles(t_s, values, edges_s, (0.0, 0.5, 0.95, 1.0))
        for column, (a, b) in enumerate(pairwise(edges_s)):
            inside = values[(t_s >= a) & (t_s < b)]
            np.testing.assert_allclose(found[:, column], np.quantile(inside, [0.0, 0.5, 0.95, 1.0]))

    def test_an_empty_bin_is_not_zero(self):
        found = binning.binned_quantiles(np.array([0.5]), np.array([7.0]), np.arange(3.0), (0.5,))
        assert found[0, 0] == 7.0
        assert np.isnan(found[0, 1])

    @pytest.mark.parametrize("end_s", [0.3, 30.0, 1800.0])
    def test_time_bins_are_round_and_reach_the_end(self, results, end_s):
        edges_s = binning.time_edges_s(results, end_s)
        assert edges_s[-1] >= end_s * (1 - 1e-9)
        assert len(edges_s) <= 151
        digit = edges_s[1] / 10.0 ** np.floor(np.log10(edges_s[1]) + 1e-9)
        assert round(digit, 6) in (1.0, 2.0, 5.0)

    def test_distribution_ends_at_the_share_that_was_answered(self):
        requests = make_requests([0.0, 1.0, 2.0, 3.0], [0.5, 1.25, np.nan, 3.75], [0, 0, 3, 1])
        latency_s, shares = binning.distribution(requests)
        assert latency_s.tolist() == [0.25, 0.5, 0.75]
        assert shares.tolist() == [0.25, 0.5, 0.75]

    def test_distribution_of_many_keeps_both_ends(self):
        n = 100_000
        requests = make_requests(np.zeros(n), np.arange(1, n + 1), np.zeros(n, int))
        latency_s, shares = binning.distribution(requests, 100)
        assert len(latency_s) == 100
        assert (latency_s[0], latency_s[-1], shares[-1]) == (1.0, n, 1.0)

    def test_placements_follow_the_switches(self, results):
        raster = binning.placements(results[1], 0, np.array([0.0, 10.9, 11.0, 18.9, 19.1]))
        assert raster.tolist() == [[0, 0, 0, 0, 0], *[[2, 2, 0, 0, 2]] * 3]
        assert binning.placements(results[1], 9, np.array([0.0])) is None


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_devices_differ_in_greyscale():
    colours = [device_colour(device) for device in range(3)]
    assert all(contrast(a, b) > 1.7 for i, a in enumerate(colours) for b in colours[:i])


def test_lines_of_policies_show_on_light_and_dark_pages():
    for position in range(6):
        assert contrast(look(position).colour, "#ffffff") > 2.9
        assert contrast(look(position).colour, "#15181b") > 3.0


def test_importing_the_report_loads_no_drawing_library():
    import subprocess
    import sys

    modules = "twin.report, twin.runs.folder, twin.metrics"
    code = f"import sys, {modules}; print({{'matplotlib', 'pyarrow', 'jinja2'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
