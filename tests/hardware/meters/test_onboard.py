"""Sources inside a machine, each against a machine that is made up of files, a command or a library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_meters import PMIC_SAYS, add_battery, add_rapl, machine, nvml_library

from hardware.meters import pmic
from hardware.meters.errors import AccessError, DecodeError, NoPowerError, SilentError, UrlError
from hardware.meters.open import open_meter
from hardware.meters.survey import survey


def test_rapl_counts_packages_only_and_goes_on_where_a_counter_wraps(tmp_path):
    powercap = add_rapl(tmp_path, counter_uj=9_000_000, range_uj=10_000_000)
    meter = open_meter("rapl://", machine=machine(tmp_path))
    assert meter.read().reading.counter_j == 0.0
    (powercap / "intel-rapl:0/energy_uj").write_text("9500000\n")
    (powercap / "intel-rapl:0:0/energy_uj").write_text("9900000\n")
    (powercap / "intel-rapl:1/energy_uj").write_text("9900000\n")
    assert meter.read().reading.counter_j == pytest.approx(0.5)
    (powercap / "intel-rapl:0/energy_uj").write_text("2000000\n")
    reading = meter.read().reading
    assert reading.counter_j == pytest.approx(3.0)
    assert reading.power_w is None
    assert reading.device.model == "RAPL package-0"


def test_rapl_adds_the_packages_of_two_sockets_each_with_its_own_range(tmp_path):
    powercap = add_rapl(tmp_path, counter_uj=0, range_uj=10_000_000)
    (powercap / "intel-rapl:1/name").write_text("package-1\n")
    (powercap / "intel-rapl:1/max_energy_range_uj").write_text("1000000\n")
    meter = open_meter("rapl://", machine=machine(tmp_path))
    counted_j = []
    for first_uj, second_uj in ((0, 900_000), (500_000, 100_000)):
        (powercap / "intel-rapl:0/energy_uj").write_text(str(first_uj))
        (powercap / "intel-rapl:1/energy_uj").write_text(str(second_uj))
        counted_j.append(meter.read().reading.counter_j)
    # From 0.9 J the second goes by its range of 1 J to 0.1 J: 0.2 J, beside 0.5 J of the first.
    assert counted_j == pytest.approx([0.0, 0.7])


def test_rapl_of_the_platform(tmp_path):
    powercap = add_rapl(tmp_path)
    meter = open_meter("rapl://psys", machine=machine(tmp_path))
    meter.read()
    (powercap / "intel-rapl:1/energy_uj").write_text("3000000\n")
    assert meter.read().reading.counter_j == pytest.approx(2.0)


def test_rapl_that_only_root_may_read_says_the_remedy(tmp_path, monkeypatch):
    add_rapl(tmp_path)
    read_text = Path.read_text

    def closed(path, *arguments, **options):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(AccessError, match=r"Permission denied.*sudo chmod a\+r"):
        open_meter("rapl://", machine=machine(tmp_path))


def test_rapl_where_there_is_none(tmp_path):
    with pytest.raises(AccessError, match="intel_rapl_msr"):
        open_meter("rapl://", machine=machine(tmp_path))


def test_rapl_that_holds_no_number(tmp_path):
    (add_rapl(tmp_path) / "intel-rapl:0/energy_uj").write_text("lots\n")
    with pytest.raises(AccessError, match="'lots', which is no whole number"):
        open_meter("rapl://", machine=machine(tmp_path))


def test_a_graphics_card(tmp_path):
    meter = open_meter("nvml://0", machine=machine(tmp_path))
    reading = meter.read().reading
    assert (reading.power_w, reading.counter_j, reading.temperature_c) == (31.5, 9000.0, 45.0)
    assert (reading.device.model, reading.device.firmware, reading.device.serial) == ("Card 1", "550.1", "")
    meter.close()


def test_a_graphics_card_that_does_not_count(tmp_path):
    here = machine(tmp_path, nvml=lambda: nvml_library(energy_mj=None))
    assert open_meter("nvml://", machine=here).read().reading.counter_j is None
    blind = machine(tmp_path, nvml=lambda: nvml_library(power_mw=None, energy_mj=None))
    with pytest.raises(DecodeError, match="neither its power nor its energy"):
        open_meter("nvml://0", machine=blind).read()


def test_a_graphics_card_that_is_not_there(tmp_path):
    with pytest.raises(AccessError, match="nvidia-smi"):
        open_meter("nvml://3", machine=machine(tmp_path))
    with pytest.raises(UrlError, match="nvml://0"):
        open_meter("nvml://first", machine=machine(tmp_path))


def test_a_graphics_card_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(AccessError, match=r"continuum-twin\[gpu\]"):
        open_meter("nvml://0")


def test_the_power_chip_of_a_raspberry_pi_5(tmp_path):
    reading = open_meter("pmic://", machine=machine(tmp_path)).read().reading
    # Rails with both: 3.7 V * 0.1 A + 0.75 V * 2 A; the input and the battery have no current.
    assert reading.power_w == pytest.approx(1.1451 * (0.37 + 1.5) + 0.5879)
    assert reading.voltage_v == 5.1


def test_a_raspberry_pi_4_has_no_currents(tmp_path):
    here = machine(tmp_path, vcgencmd=lambda: PMIC_SAYS.replace(b"_A current", b"_X current"))
    with pytest.raises(DecodeError, match="only a Raspberry Pi 5"):
        open_meter("pmic://", machine=here)


def test_a_command_that_is_missing_fails_or_hangs(monkeypatch):
    with pytest.raises(AccessError, match="Raspberry Pi OS"):
        pmic.run_command(("no-such-command",))
    with pytest.raises(AccessError, match=r"no rights.*group video"):
        pmic.run_command((sys.executable, "-c", "import sys; sys.exit('no rights')"))
    monkeypatch.setattr(pmic, "_TIMEOUT_S", 0.01)
    with pytest.raises(SilentError, match=r"0\.01 s"):
        pmic.run_command(("sleep", "5"))


def test_a_battery(tmp_path):
    add_battery(tmp_path)
    reading = open_meter("battery://BAT0", machine=machine(tmp_path)).read().reading
    assert (reading.power_w, reading.voltage_v, reading.energy_wh) == (7.5, 11.4, 40.0)
    assert reading.current_a == pytest.approx(7.5 / 11.4)
    assert reading.counter_j is None
    assert (reading.device.model, reading.device.serial) == ("ACME B1", "77")


def test_a_battery_that_tells_its_current_only(tmp_path):
    folder = add_battery(tmp_path, current_now=-500_000)
    (folder / "power_now").unlink()
    assert open_meter("battery://", machine=machine(tmp_path)).read().reading.power_w == pytest.approx(5.7)


def test_a_battery_that_is_charged_tells_no_power(tmp_path):
    folder = add_battery(tmp_path)
    meter = open_meter("battery://BAT0", machine=machine(tmp_path))
    (folder / "status").write_text("Charging\n")
    with pytest.raises(NoPowerError, match="unplug the charger"):
        meter.read()


def test_a_battery_of_a_mouse_is_not_the_machines(tmp_path):
    add_battery(tmp_path, "hidpp_battery_0", scope="Device")
    with pytest.raises(AccessError, match="no battery"):
        open_meter("battery://", machine=machine(tmp_path))
    add_battery(tmp_path)
    with pytest.raises(AccessError, match="no battery `BAT7`; there is BAT0"):
        open_meter("battery://BAT7", machine=machine(tmp_path))


def test_the_survey_shows_what_is_readable_and_the_remedy_for_the_rest(tmp_path):
    add_battery(tmp_path, status="Full")
    ports = [("/dev/null", "a port"), (str(tmp_path / "none"), "another")]
    found = {entry.url: entry for entry in survey(machine(tmp_path), lambda: ports)}
    assert {url for url, entry in found.items() if entry.readable} == {"tc66c:///dev/null", "pmic://", "nvml://0"}
    assert "dialout" in found[f"tc66c://{tmp_path / 'none'}"].says
    assert "intel_rapl_msr" in found["rapl://"].says
    assert "unplug the charger" in found["battery://BAT0"].says
    assert found["nvml://0"].says == "31.500 W, 9000.0 J counted, 45 C"
