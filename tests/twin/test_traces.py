"""Link and load traces: the readers, what they refuse, and how windows change a trace."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import TraceError
from twin.steps import Steps
from twin.traces import LinkTrace, LoadTrace, load_link_trace, load_load_trace

HEADER = "time_s,up_bps,down_bps,rtt_s\n"
META = "source: measured\nplace: lab\n"


@pytest.fixture
def write(tmp_path):
    def write_file(name, text, meta=META):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        if meta is not None:
            path.with_suffix(".meta.yaml").write_text(meta, encoding="utf-8")
        return path

    return write_file


class TestLinkTrace:
    def test_constant(self):
        link = LinkTrace.constant(8e6, 0.01, down_bps=2e6, name="lab")
        assert (link.up.at(5), link.down.at(5), link.rtt.at(5)) == (8e6, 2e6, 0.01)
        assert LinkTrace.constant(8e6).down.at(0) == 8e6
        assert link.source == "given"

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
    def test_constant_refuses_what_is_no_rate(self, value):
        for arguments in ({"rate_bps": value}, {"rate_bps": 1, "rtt_s": value}, {"rate_bps": 1, "down_bps": value}):
            with pytest.raises(TraceError, match=r"lab: .* finite number >= 0"):
                LinkTrace.constant(**arguments, name="lab")

    def test_masked_takes_both_directions_down(self):
        link = LinkTrace.constant(8e6, 0.01).masked(1.0, 2.0)
        assert [link.up.at(t) for t in (0.5, 1.0, 2.0)] == [8e6, 0.0, 8e6]
        assert link.down.finish(0.5, 8e6) == 2.5
        assert link.rtt.at(1.5) == 0.01


class TestLoadTrace:
    def test_work_is_the_reciprocal_of_the_slowdown(self):
        load = LoadTrace("busy", Steps((0, 1, 2), (1.0, 4.0, math.inf), "loop", 4.0))
        assert load.work.finish(0.0, 1.25) == 2.0
        assert load.work.finish(0.0, 1.3) == pytest.approx(4.05)
        assert load.work.finish(1.0, 1.0) == pytest.approx(4.75)
        assert load.slowdown.at(3.0) == math.inf

    def test_slowed_and_stalled(self):
        load = LoadTrace.constant(2.0)
        slowed = load.slowed(3.0, 1.0, 2.0)
        assert [slowed.slowdown.at(t) for t in (0, 1, 2)] == [2, 6, 2]
        stalled = load.slowed(math.inf, 1.0, 2.0)
        assert stalled.work.finish(0.0, 0.75) == 2.5

    @pytest.mark.parametrize("slowdown", [0.0, -1.0, math.nan])
    def test_a_slowdown_must_be_positive(self, slowdown):
        with pytest.raises(TraceError, match="slowdown"):
            LoadTrace.constant(slowdown)


class TestCsv:
    def test_columns_meta_and_end(self, write):
        path = write("walk.csv", HEADER + "0,100,50,0.01\n1,200,0,0.02\n", META + "duration_s: 3\n")
        link = load_link_trace(path, "loop")
        assert link.name == "walk"
        assert (link.up.at(0.5), link.down.at(0.5), link.rtt.at(1.5)) == (100, 50, 0.02)
        assert link.up.end_s == 3.0
        assert link.up.at(3.5) == 100
        assert link.source == "measured"
        assert link.provenance["place"] == "lab"

    def test_holds_by_default(self, write):
        link = load_link_trace(write("walk.csv", HEADER + "0,100,50,0.01\n1,200,0,0.02\n"))
        assert link.up.at(1e6) == 200

    def test_error_past_the_end_names_the_file(self, write):
        path = write("walk.csv", HEADER + "0,100,50,0.01\n")
        with pytest.raises(
            TraceError, match=r"walk\.csv up_bps is read at 2 s, but ends at 1 s; set `after_end: hold`"
        ):
            load_link_trace(path, "error").up.at(2.0)

    def test_a_byte_order_mark_and_blank_lines_do_no_harm(self, write):
        path = write("walk.csv", "\ufefftime_s, up_bps, down_bps, rtt_s\n0,1,1,0\n\n1,2,2,0\n")
        assert load_link_trace(path).up.values == (1.0, 2.0)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "line 1: the header is ``; it must be `time_s,up_bps,down_bps,rtt_s`"),
            ("t,up,down,rtt\n0,1,1,0\n", "line 1: the header is `t,up,down,rtt`; it must be"),
            (HEADER, "is empty; give at least one line"),
            (HEADER + "0,1,1\n", "line 2: has 3 cells; give one for each"),
            (HEADER + "0,fast,1,0\n", "line 2: up_bps is `fast`; it must be a number"),
            (HEADER + "0,1,1,0\n1,-5,1,0\n", "line 3: up_bps is -5; it must be a finite number >= 0"),
            (HEADER + "0,nan,1,0\n", "line 2: up_bps is nan; it must be a finite number >= 0"),
            (HEADER + "0,1,inf,0\n", "line 2: down_bps is inf; it must be a finite number >= 0"),
            (HEADER + "0,1,1,\n", "line 2: rtt_s is ``; it must be a number"),
            (HEADER + "0,1,1,0\n2,1,1,0\n2,1,1,0\n", "line 4: time 2 s follows 2 s; times must increase"),
            (HEADER + "1,1,1,0\n", "line 2: the first time_s is 1; a trace must start at 0"),
        ],
    )
    def test_malformed_files_are_refused_with_file_line_and_remedy(self, write, text, words):
        path = write("bad.csv", text)
        with pytest.raises(TraceError, match=re.escape(str(path)) + ".*" + re.escape(words)):
            load_link_trace(path)

    def test_missing_and_binary_files(self, tmp_path):
        with pytest.raises(TraceError, match=r"none\.csv: cannot be read .*data/traces"):
            load_link_trace(tmp_path / "none.csv")
        binary = tmp_path / "binary.csv"
        binary.write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(TraceError, match=r"binary\.csv: is not a text file"):
            load_link_trace(binary)

    @pytest.mark.parametrize(
        ("meta", "words"),
        [
            (None, "cannot be read"),
            ("place: lab\n", "`source` is missing"),
            ("source: guessed\n", "`source` is missing or unknown; write `source: measured | derived | emulated`"),
            ("source: [measured\n", "is not YAML"),
            ("- source\n", "`source` is missing"),
            (META + "duration_s: long\n", "duration_s is 'long'; it must be a number"),
            (META + "duration_s: true\n", "duration_s is True; it must be a number"),
        ],
    )
    def test_a_malformed_meta_file_is_refused(self, write, meta, words):
        path = write("walk.csv", HEADER + "0,1,1,0\n", meta)
        with pytest.raises(TraceError, match=r"walk\.meta\.yaml.*" + re.escape(words)):
            load_link_trace(path)

    @pytest.mark.parametrize("duration", ["0.5", ".nan", ".inf"])
    def test_a_duration_must_lie_past_the_last_step(self, write, duration):
        path = write("walk.csv", HEADER + "0,1,1,0\n1,1,1,0\n", META + f"duration_s: {duration}\n")
        with pytest.raises(TraceError, match=r"walk\.csv up_bps: duration_s is .*later than the last time, 1 s"):
            load_link_trace(path)

    @given(rows=st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1e10)), min_size=1, max_size=6))
    def test_what_is_written_is_read(self, tmp_path_factory, rows):
        path = tmp_path_factory.mktemp("trace") / "any.csv"
        time_s, lines = 0.0, []
        for width_s, rate_bps in rows:
            lines.append(f"{time_s!r},{rate_bps!r},{rate_bps!r},0.001")
            time_s += width_s
        path.write_text(HEADER + "\n".join(lines), encoding="utf-8")
        path.with_suffix(".meta.yaml").write_text(META, encoding="utf-8")
        assert load_link_trace(path).up.values == tuple(rate for _, rate in rows)


class TestMahimahi:
    def test_one_slot_per_millisecond_is_12_mbit_per_second(self, write):
        link = load_link_trace(write("fixed.mahi", "1\n", meta=None), rtt_s=0.02)
        assert link.up.at(123.4) == 12e6
        assert link.rtt.at(0) == 0.02
        assert link.source == "given"
        assert link.provenance == {"format": "mahimahi", "files": ["fixed.mahi", "fixed.mahi"]}

    def test_slots_are_counted_in_bins_and_the_trace_repeats(self, write):
        link = load_link_trace(write("cell.up", "10\n100\n101\n101\n250\n"), rtt_s=0.02)
        assert link.up.times_s == (0.0, 0.1, 0.2)
        assert link.up.values == pytest.approx((240e3, 240e3, 240e3))
        assert link.up.end_s == 0.25
        assert link.up.delivered(0.25) == pytest.approx(5 * 12_000)
        assert link.up.delivered(2.5) == pytest.approx(50 * 12_000)

    @given(st.lists(st.integers(0, 900), min_size=1, max_size=60), st.sampled_from([0.001, 0.007, 0.1, 5.0]))
    def test_no_slot_is_lost(self, tmp_path_factory, slots, bin_s):
        slots = [*sorted(slots), 1000]
        path = tmp_path_factory.mktemp("trace") / "any.mahi"
        path.write_text("\n".join(map(str, slots)), encoding="utf-8")
        link = load_link_trace(path, rtt_s=0.0, bin_s=bin_s)
        assert link.up.delivered(1.0) == pytest.approx(len(slots) * 12_000)

    def test_the_down_file_beside_an_up_file_is_taken(self, write, tmp_path):
        up = write("cell.up", "1\n", meta=None)
        write("cell.down", "1\n1\n", meta=None)
        other = write("other.down", "1\n1\n1\n", meta=None)
        assert load_link_trace(up, rtt_s=0.0).down.at(0) == 24e6
        assert load_link_trace(up, rtt_s=0.0, down_path=other).down.at(0) == 36e6

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty"),
            ("0\n", "must be a time > 0"),
            ("1\n2.5\n", "line 2: `2.5` must be a time in whole milliseconds"),
            ("1\n-2\n", "line 2: `-2` must be a time in whole milliseconds"),
            ("5\n4\n", "line 2: 4 ms follows 5 ms; times must not decrease"),
        ],
    )
    def test_malformed_files_are_refused(self, write, text, words):
        with pytest.raises(TraceError, match=r"bad\.up.*" + re.escape(words)):
            load_link_trace(write("bad.up", text), rtt_s=0.0)

    @pytest.mark.parametrize("bin_s", [0.0, -1.0, 0.0001, math.nan, math.inf])
    def test_bins_must_last_a_millisecond(self, write, bin_s):
        with pytest.raises(TraceError, match=r"give `bin_s` of at least 0\.001"):
            load_link_trace(write("cell.up", "1\n"), rtt_s=0.0, bin_s=bin_s)


class TestTwoColumns:
    @pytest.mark.parametrize("text", ["0 8\n2.5 0.5\n", "# s Mbit/s\n10,8\n12.5 , 0.5\n", "1\t8 # fast\n\n3.5\t0.5"])
    def test_time_and_mbit_per_second(self, write, text):
        link = load_link_trace(write("drive.txt", text), rtt_s=0.05)
        assert link.up.times_s == (0.0, 2.5)
        assert link.up.values == link.down.values == (8e6, 0.5e6)
        assert link.source == "measured"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty"),
            ("0 1 2\n", "line 1: `0 1 2` must be a time in seconds and a rate in Mbit/s"),
            ("0 1\n# pause\n0 2\n", "line 3: time 0 s follows 0 s; times must increase"),
            ("0 1\n1 nan\n", "line 2: rate is nan"),
            ("0 -1\n", "line 1: rate is -1"),
            ("zero 1\n", "line 1: time is `zero`; it must be a number"),
        ],
    )
    def test_malformed_files_are_refused(self, write, text, words):
        with pytest.raises(TraceError, match=r"bad\.txt.*" + re.escape(words)):
            load_link_trace(write("bad.txt", text), rtt_s=0.0)


class TestDispatch:
    def test_the_format_overrides_the_extension(self, write):
        link = load_link_trace(write("drive.csv", "0,8\n1,4\n", meta=None), file_format="two-column", rtt_s=0.05)
        assert link.up.values == (8e6, 4e6)

    def test_an_unknown_extension_is_refused(self, write):
        with pytest.raises(TraceError, match=r"drive\.xyz: the extension `\.xyz` names no trace format; use one of"):
            load_link_trace(write("drive.xyz", "0 8\n"))

    @pytest.mark.parametrize("rtt_s", [None, -0.1, math.nan, math.inf])
    def test_formats_without_a_round_trip_time_need_one(self, write, rtt_s):
        with pytest.raises(TraceError, match="holds no round-trip time; give `rtt_s`"):
            load_link_trace(write("drive.txt", "0 8\n"), rtt_s=rtt_s)


class TestLoadFile:
    def test_columns(self, write):
        load = load_load_trace(write("busy.csv", "time_s,slowdown\n0,1\n2,inf\n3,4\n"), "loop")
        assert load.slowdown.at(2.5) == math.inf
        assert load.work.finish(1.5, 0.75) == 4.0
        assert load.source == "measured"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("time_s,load\n0,1\n", "line 1: the header is `time_s,load`; it must be `time_s,slowdown`"),
            ("time_s,slowdown\n0,0\n", "a slowdown is 0; it must be > 0"),
            ("time_s,slowdown\ninf,1\n", "line 2: time_s is inf"),
        ],
    )
    def test_malformed_files_are_refused(self, write, text, words):
        with pytest.raises(TraceError, match=r"bad.*" + re.escape(words)):
            load_load_trace(write("bad.csv", text))


def test_paths_may_be_strings(write):
    path = write("walk.csv", HEADER + "0,1,1,0\n")
    assert load_link_trace(str(path)) == load_link_trace(Path(path))
