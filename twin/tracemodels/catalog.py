"""The models behind the committed traces, each number with its source."""

from __future__ import annotations

from twin.tracemodels.markov import Route, State, TraceModel
from twin.units import bps_from_mbps, s_from_ms

LINK_COLUMNS = ("up_bps", "down_bps", "rtt_s")
LOAD_COLUMNS = ("slowdown",)

CHOSEN = "chosen"


def _link(up_mbps: float, down_mbps: float, rtt_ms: float) -> dict[str, float]:
    return {
        "up_bps": bps_from_mbps(up_mbps),
        "down_bps": bps_from_mbps(down_mbps),
        "rtt_s": s_from_ms(rtt_ms),
    }


LAN_STEADY = TraceModel(
    name="lan-steady",
    description="Gigabit Ethernet in one room; now and then other traffic takes a few per cent.",
    seed=1101,
    duration_s=300.0,
    step_s=1.0,
    columns=LINK_COLUMNS,
    states=(
        State("quiet", _link(937.0, 937.0, 0.4), dwell_s=30.0, shortest_s=5.0, follow={"busy": 1.0}),
        State("busy", _link(890.0, 890.0, 0.5), dwell_s=10.0, shortest_s=3.0, follow={"quiet": 1.0}),
    ),
    spread={"up_bps": 0.004, "down_bps": 0.004, "rtt_s": 0.15},
    sources={
        "limit of the goodput": (
            "TCP payload over Gigabit Ethernet: 1000 Mbit/s * 1448 / 1538 = 941 Mbit/s (a frame of 1518 bytes, "
            "preamble and gap of 20 bytes, IP and TCP headers with timestamps of 52 bytes; IEEE Std 802.3, RFC 7323)"
        ),
        "goodput of both states below that limit, round-trip times, dwell times, spread": CHOSEN,
    },
)

_EFFICIENCY = 0.7
_PHY_MBPS = (144.4, 130.0, 115.6, 86.7, 57.8, 43.3, 28.9, 14.4, 7.2)
_WIFI_RTT_MS = (3.0, 3.2, 3.5, 4.2, 5.5, 7.0, 10.0, 14.0, 19.0, 24.0)
_WIFI_DOWN_MBPS = (*(_EFFICIENCY * phy_mbps for phy_mbps in _PHY_MBPS), 2.5)
_WIFI_NAMES = (*(f"MCS {index}" for index in (15, 14, 13, 12, 11, 10, 9, 8, 0)), "MCS 0 with retries")

WIFI_WALK = TraceModel(
    name="wifi-walk",
    description="802.11n (20 MHz, two streams): a walk from the access point to the edge of its reach and back.",
    seed=1202,
    duration_s=120.0,
    step_s=0.5,
    columns=LINK_COLUMNS,
    states=tuple(
        State(name, _link(0.9 * down_mbps, down_mbps, rtt_ms))
        for name, down_mbps, rtt_ms in zip(_WIFI_NAMES, _WIFI_DOWN_MBPS, _WIFI_RTT_MS, strict=True)
    ),
    spread={"up_bps": 0.12, "down_bps": 0.12, "rtt_s": 0.2},
    sources={
        "signalling rates": (
            "IEEE Std 802.11n-2009, tables of HT modulation and coding schemes (20 MHz, guard interval 400 ns): "
            f"{', '.join(map(str, _PHY_MBPS))} Mbit/s"
        ),
        "share of the signalling rate that is payload": f"{CHOSEN}: {_EFFICIENCY}",
        "goodput of the last state": f"{CHOSEN}: MCS 0 with about every second frame sent again",
        "uplink": f"{CHOSEN}: 0.9 of the downlink, for the weaker transmitter",
        "round-trip times, route, probabilities of moving, spread": CHOSEN,
    },
    route=Route(
        points=((0.0, 0.0), (8.0, 0.0), (52.0, 9.0), (68.0, 9.0), (112.0, 0.0), (120.0, 0.0)), towards=0.5, astray=0.1
    ),
)

LTE_OUTAGES = TraceModel(
    name="lte-outages",
    description="LTE on the move: good, median and poor cells, and outages of 1 to 6 s.",
    seed=1310,
    duration_s=300.0,
    step_s=0.5,
    columns=LINK_COLUMNS,
    states=(
        State("good", _link(12.0, 30.0, 45.0), dwell_s=12.0, shortest_s=3.0, follow={"median": 0.7, "poor": 0.3}),
        State(
            "median",
            _link(6.0, 13.0, 60.0),
            dwell_s=12.0,
            shortest_s=3.0,
            follow={"good": 0.4, "poor": 0.35, "outage": 0.25},
        ),
        State("poor", _link(1.5, 4.0, 100.0), dwell_s=7.0, shortest_s=2.0, follow={"median": 0.5, "outage": 0.5}),
        State(
            "outage",
            _link(0.0, 0.0, 100.0),
            dwell_s=2.0,
            shortest_s=1.0,
            longest_s=6.0,
            follow={"poor": 0.6, "median": 0.4},
        ),
    ),
    spread={"up_bps": 0.25, "down_bps": 0.25, "rtt_s": 0.2},
    sources={
        "goodput of the median state": (
            "median LTE downlink 13 Mbit/s and uplink 6 Mbit/s: Huang et al., A Close Examination of Performance and "
            "Power Characteristics of 4G LTE Networks, MobiSys 2012, abstract"
        ),
        "end of an outage": (
            "after its first second an outage ends at a rate of 1 per second, the outage escape rate of the link model "
            "of Winstein, Sivaraman and Balakrishnan, Stochastic Forecasts Achieve High Throughput and Low Delay over "
            "Cellular Networks, NSDI 2013"
        ),
        "shortest and longest outage": f"{CHOSEN}: 1 s and 6 s",
        "seed": f"{CHOSEN} among a few, for outages of several lengths",
        "goodput of the good and the poor state, round-trip times, other dwell times, what follows, spread": CHOSEN,
    },
)

THROTTLED = TraceModel(
    name="throttled",
    description="A 40 MB/s link (320 Mbit/s) that a VPN throttles to 5 Mbit/s and sets free again.",
    seed=1404,
    duration_s=300.0,
    step_s=1.0,
    columns=LINK_COLUMNS,
    states=(
        State(
            "free", _link(320.0, 320.0, 4.0), dwell_s=45.0, shortest_s=25.0, longest_s=70.0, follow={"throttled": 1.0}
        ),
        State("throttled", _link(5.0, 5.0, 12.0), dwell_s=25.0, shortest_s=15.0, longest_s=40.0, follow={"free": 1.0}),
    ),
    spread={},
    sources={
        "both rates": f"{CHOSEN}: a 40 MB/s link, throttled to 5 Mbit/s",
        "throttling by a VPN": (
            "the way in which Deng, Butkus, Lapkovskis and Donta, arXiv 2605.09623, vary the links of their testbed; "
            "they report neither rates nor round-trip times"
        ),
        "round-trip times, dwell times": CHOSEN,
    },
)

FOG_BUSY = TraceModel(
    name="fog-busy",
    description="A laptop that somebody works on: idle, sharing its cores with one program, or with many.",
    seed=2104,
    duration_s=300.0,
    step_s=1.0,
    columns=LOAD_COLUMNS,
    states=(
        State("idle", {"slowdown": 1.0}, dwell_s=20.0, shortest_s=5.0, follow={"shared": 0.5, "busy": 0.5}),
        State("shared", {"slowdown": 1.5}, dwell_s=12.0, shortest_s=4.0, follow={"idle": 0.4, "busy": 0.6}),
        State("busy", {"slowdown": 3.0}, dwell_s=12.0, shortest_s=4.0, follow={"shared": 0.6, "idle": 0.4}),
    ),
    spread={"slowdown": 0.0},
    sources={"slowdowns, dwell times, what follows": CHOSEN},
)

EDGE_THROTTLED = TraceModel(
    name="edge-throttled",
    description="A single-board computer without a fan: its clock drops from 2.4 GHz as it gets hot, and recovers.",
    seed=2202,
    duration_s=300.0,
    step_s=1.0,
    columns=LOAD_COLUMNS,
    states=(
        State("cool", {"slowdown": 1.0}, dwell_s=50.0, shortest_s=30.0, follow={"warm": 1.0}),
        State("warm", {"slowdown": 1.2}, dwell_s=15.0, shortest_s=6.0, follow={"hot": 0.7, "cool": 0.3}),
        State("hot", {"slowdown": 1.6}, dwell_s=25.0, shortest_s=10.0, follow={"warm": 1.0}),
    ),
    spread={"slowdown": 0.0},
    sources={
        "throttling in steps": (
            "between 80 and 85 degrees Celsius the cores are throttled progressively: Raspberry Pi documentation, "
            "Frequency management and thermal control"
        ),
        "slowdowns": f"{CHOSEN}: 2.4 GHz over 2.4, 2.0 and 1.5 GHz",
        "dwell times, what follows": CHOSEN,
    },
)

CATALOG: dict[str, TraceModel] = {
    model.name: model for model in (LAN_STEADY, WIFI_WALK, LTE_OUTAGES, THROTTLED, FOG_BUSY, EDGE_THROTTLED)
}
"""Every model by its name."""
