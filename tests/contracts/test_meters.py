"""What every power meter must keep: readings or a MeterError, pure decoding, facts, replay, and no end of the run."""

from __future__ import annotations

import math
import struct
from contextlib import suppress

import numpy as np
import pytest
from fake_meters import (
    ATORCH_CAPTURE,
    PMIC_SAYS,
    Clock,
    Speaker,
    add_battery,
    add_rapl,
    constant,
    machine,
    nvml_library,
    serial_meter,
)

from hardware.meters.errors import AccessError, MeterError
from hardware.meters.frames import replay
from hardware.meters.kinds import KINDS
from hardware.meters.open import open_meter
from hardware.meters.protocol import PowerSample
from hardware.meters.sampler import Sampler
from twin.metering.facts import MeterFacts

CT2_SAYS = struct.pack("<5f", 5.0, 0.84, 4.2, 0.6, 0.6)


class Chatty(Speaker):
    """A meter that sends by itself: here, whenever a test is about to read it."""

    def tick(self):
        self.send(ATORCH_CAPTURE)


class Case:
    """An open meter of a kind on `clock`, and a way to take it away."""

    def __init__(self, kind, folder):
        self.clock = Clock()
        self.tick = lambda: None
        self.clean_up = lambda: None
        self.meter, self.take_away = getattr(self, kind if kind in vars(Case) else "emulated")(kind, folder)

    def serial(self, kind, thing):
        self.clean_up = thing.close
        return serial_meter(thing.path, kind, clock=self.clock), thing.close

    def emulated(self, kind, folder):
        return self.serial(kind, constant(kind, clock=self.clock))

    def ct2(self, kind, folder):
        return self.serial(kind, Speaker(lambda asked: CT2_SAYS))

    def atorch(self, kind, folder):
        chatty = Chatty()
        self.tick = chatty.tick
        meter, take_away = self.serial(kind, chatty)

        def gone():
            self.tick = lambda: None
            take_away()

        return meter, gone

    def rapl(self, kind, folder):
        powercap = add_rapl(folder)
        meter = open_meter("rapl://", machine=machine(folder, clock=self.clock))
        return meter, (powercap / "intel-rapl:0/energy_uj").unlink

    def battery(self, kind, folder):
        there = add_battery(folder)
        meter = open_meter("battery://", machine=machine(folder, clock=self.clock))
        return meter, (there / "status").unlink

    def nvml(self, kind, folder):
        library = nvml_library()
        meter = open_meter("nvml://0", machine=machine(folder, nvml=lambda: library, clock=self.clock))

        def fall_off(card):
            raise library.NVMLError("GPU is lost")

        return meter, lambda: setattr(library, "nvmlDeviceGetPowerUsage", fall_off)

    def pmic(self, kind, folder):
        says = [PMIC_SAYS]

        def ask():
            if not says:
                raise AccessError("the command is gone")
            return says[0]

        return open_meter("pmic://", machine=machine(folder, vcgencmd=ask, clock=self.clock)), says.clear


@pytest.fixture(params=sorted(KINDS))
def case(request, tmp_path):
    made = Case(request.param, tmp_path)
    yield made
    made.meter.close()
    made.clean_up()


def read(case):
    case.tick()
    return case.meter.read()


def test_a_reading_is_stamped_within_its_poll(case):
    before_s = case.clock()
    sample = read(case)
    after_s = case.clock()
    assert isinstance(sample, PowerSample)
    assert before_s <= sample.t_s - sample.poll_s / 2 + 1e-9
    assert sample.t_s + sample.poll_s / 2 <= after_s + 1e-9
    assert sample.reading.power_w is not None or sample.reading.counter_j is not None
    assert math.isnan(sample.power_w) == (sample.reading.power_w is None)


def test_the_frame_decodes_to_the_same_reading(case):
    first, second = read(case), read(case)
    decode = case.meter.kind.decoder()
    assert [decode(first.frame), decode(second.frame)] == [first.reading, second.reading]


def test_its_facts_can_be_kept(case):
    facts = case.meter.kind.facts("pi", case.meter.url, case.meter.source, read(case).reading)
    assert MeterFacts.from_json(facts.to_json()) == facts
    assert (facts.kind, bool(facts.model), bool(facts.place)) == (case.meter.kind.name, True, True)
    assert case.meter.kind.poll_s > 0


def test_closing_twice_does_no_harm(case):
    case.meter.close()
    case.meter.close()


def test_when_it_goes_away_there_is_a_meter_error_or_none_and_nothing_else(case):
    read(case)
    case.take_away()
    failures = 0
    for _ in range(5):
        try:
            assert case.meter.read() is None
        except MeterError as error:
            failures += bool(str(error))
        case.clock.advance(1.0)
    assert failures >= 1


def test_the_run_goes_on_without_it_and_says_what_is_missing(case, tmp_path):
    frames = tmp_path / "frames.jsonl"
    sampler = Sampler(case.meter, "pi", frames, clock=case.clock)
    for poll in range(20):
        if poll == 10:
            case.take_away()
        with suppress(OSError):
            case.tick()
        sampler.poll()
        case.clock.advance(max(sampler.period_s, 0.2))
    case.clock.advance(3.0)
    recording = sampler.stop()
    assert len(recording.readings) >= 2
    assert not recording.complete
    assert any("the energy is incomplete" in text for text in recording.complaints())
    again = replay(frames)
    for name, column in recording.readings.columns().items():
        assert np.array_equal(column, getattr(again.readings, name), equal_nan=True), name
    assert again.counts == recording.counts
