"""Energy meters, found in a /sys made up; none of the machines that test this has one for sure."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from device_runner.measure.energy import METERS, find_meter, raspberry_pi_5
from device_runner.measure.energy.measurement import measure_energy
from device_runner.measure.energy.meter import EnergyMeter
from device_runner.measure.energy.raspberry_pi_5 import rails_power
from device_runner.stream import Stream

PMIC_ANSWER = """    3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.50000000A
   HDMI_A current(22)=0.02000000A
  3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  EXT5V_V volt(24)=5.10000000V
"""


@pytest.fixture(autouse=True)
def no_vcgencmd(monkeypatch):
    monkeypatch.setattr(raspberry_pi_5.shutil, "which", lambda name: None)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_meter_there_is_none(tmp_path):
    assert find_meter(tmp_path) is None


@pytest.mark.parametrize("name", METERS)
def test_each_meter_of_the_list_is_a_module_that_finds_none(name, tmp_path):
    module = importlib.import_module(f"device_runner.measure.energy.{METERS[name].module}")
    assert module.find(tmp_path) is None


def test_rapl_counts_microjoules_of_the_package(tmp_path):
    zone = tmp_path / "class/powercap/intel-rapl:0"
    write(zone / "energy_uj", "2500000\n")
    write(zone / "max_energy_range_uj", "262143328850\n")
    write(tmp_path / "class/powercap/intel-rapl:0:0/energy_uj", "1\n")
    meter = find_meter(tmp_path)
    assert (meter.name, meter.counts) == ("RAPL intel-rapl:0", True)
    assert meter.read() == pytest.approx(2.5)
    assert meter.wraps_at_j == pytest.approx(262143.32885)


def test_a_sensor_on_the_board_tells_microwatts(tmp_path):
    write(tmp_path / "class/hwmon/hwmon0/name", "cpu_thermal\n")
    write(tmp_path / "class/hwmon/hwmon3/name", "ina226\n")
    write(tmp_path / "class/hwmon/hwmon3/power1_input", "3250000\n")
    meter = find_meter(tmp_path)
    assert (meter.name, meter.counts) == ("hwmon ina226", False)
    assert meter.read() == pytest.approx(3.25)


def test_rapl_is_preferred(tmp_path):
    write(tmp_path / "class/hwmon/hwmon3/power1_input", "3250000\n")
    write(tmp_path / "class/powercap/intel-rapl:0/energy_uj", "1\n")
    assert find_meter(tmp_path).name.startswith("RAPL")


def test_power_of_the_rails_that_have_both_readings():
    assert rails_power(PMIC_ANSWER) == pytest.approx(0.1 * 3.7 + 0.5 * 3.3)
    assert rails_power("VCHI initialization failed") == 0


@pytest.fixture
def stream(int8_file) -> Stream:
    return Stream(int8_file, "litert")


def test_a_counter_that_goes_around_is_put_right(stream):
    readings = iter([99.0, 3.0])
    meter = EnergyMeter("made up", True, lambda: next(readings), wraps_at_j=100.0)
    found = measure_energy(meter, stream, duration_s=0.02)
    assert found.joules == pytest.approx(4)
    assert found.steps >= 50


def test_power_is_integrated_over_time(stream):
    found = measure_energy(EnergyMeter("made up", False, lambda: 2.5), stream, duration_s=0.3)
    assert found.joules == pytest.approx(2.5 * found.seconds)
    assert found.seconds >= 0.3


def test_a_meter_that_stands_still_says_nothing(stream):
    assert measure_energy(EnergyMeter("made up", True, lambda: 5.0), stream, 0.02) is None
