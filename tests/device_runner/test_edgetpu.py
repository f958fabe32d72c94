"""The Edge TPU's backend as far as it goes without one: devices, refusals, what it tells.

The devices are folders made here, as Linux would show them; no Edge TPU was ever used.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from device_runner.backends import edgetpu
from device_runner.backends.backend import LoadOptions
from device_runner.errors import BadModelError, MissingRuntimeError, OptionError
from device_runner.model.step_file import load_step_model


@pytest.fixture
def fake_system(tmp_path):
    """A root folder to which USB and PCI devices can be added."""

    class FakeSystem:
        root = tmp_path

        def usb(self, vendor, product, number=1, mode=0o600):
            folder = tmp_path / f"sys/bus/usb/devices/2-{number}"
            folder.mkdir(parents=True)
            for name, text in (
                ("idVendor", vendor), ("idProduct", product), ("busnum", "2"),
                ("devnum", str(number)),
            ):  # fmt: skip
                (folder / name).write_text(text + "\n")
            return self.node(f"dev/bus/usb/002/{number:03d}", mode)

        def pci(self, number=0, mode=0o600):
            return self.node(f"dev/apex_{number}", mode)

        def node(self, name, mode):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            path.chmod(mode)
            return path

    return FakeSystem()


@pytest.fixture
def compiled(int8_file):
    """The int8 model as if the compiler had put its first operators into a custom one."""
    model = load_step_model(int8_file)
    rest = model.graph.operators[3:]
    custom = replace(model.graph.operators[0], name=edgetpu.COMPILED_OPERATOR)
    return replace(model, graph=replace(model.graph, operators=(custom, *rest)))


@pytest.fixture
def with_library(monkeypatch):
    """As if libedgetpu were installed."""
    monkeypatch.setattr(edgetpu, "check_library", lambda *_: None)


def message(kind, function, *arguments):
    with pytest.raises(kind) as caught:
        function(*arguments)
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


def test_devices_are_found(fake_system):
    assert edgetpu.find_devices(fake_system.root) == []
    fake_system.usb("1d6b", "0003", 1)
    fresh = fake_system.usb("1a6e", "089a", 4)
    started = fake_system.usb("18d1", "9302", 7)
    card = fake_system.pci()
    found = edgetpu.find_devices(fake_system.root)
    assert [(device.kind, device.node) for device in found] == [
        ("usb", fresh), ("usb", started), ("pci", card),
    ]  # fmt: skip
    assert all(device.accessible for device in found)


def test_a_device_that_vanishes_while_listed_is_no_crash(fake_system):
    fake_system.usb("1a6e", "089a", 4).unlink()
    (device,) = edgetpu.find_devices(fake_system.root)
    assert not device.accessible


def test_device_that_may_not_be_opened(fake_system, monkeypatch):
    fake_system.usb("18d1", "9302", 4)
    fake_system.pci()
    # Root may open everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    devices = edgetpu.find_devices(fake_system.root)
    assert not any(device.accessible for device in devices)
    told = message(MissingRuntimeError, edgetpu.check_devices, devices, "usb")
    assert "udev rule" in told
    assert "'plugdev'" in told
    assert "'apex'" in message(MissingRuntimeError, edgetpu.check_devices, devices, "pci")


def test_no_device_or_none_of_that_kind(fake_system):
    assert "no Edge TPU found" in message(MissingRuntimeError, edgetpu.check_devices, [], None)
    fake_system.pci()
    devices = edgetpu.find_devices(fake_system.root)
    told = message(MissingRuntimeError, edgetpu.check_devices, devices, "usb")
    assert "no Edge TPU on usb" in told
    assert "there is: pci" in told
    edgetpu.check_devices(devices, None)
    edgetpu.check_devices(devices, "pci")


@pytest.mark.parametrize("device", ["", "gpu", "usb:", "0", "usb0", "usb:0:1", "USB"])
def test_bad_device_names(device, compiled):
    told = message(OptionError, edgetpu.load, compiled, LoadOptions(device=device))
    assert "usb, pci, :0" in told


def test_model_that_was_not_compiled_is_refused_with_the_command(int8_file):
    model = load_step_model(int8_file)
    told = message(BadModelError, edgetpu.load, model, LoadOptions())
    assert f"'edgetpu_compiler -s {int8_file.name}'" in told


def test_missing_library(compiled, monkeypatch):
    monkeypatch.setattr(edgetpu, "LIBRARY", "libedgetpu-absent.so.1")
    told = message(MissingRuntimeError, edgetpu.load, compiled, LoadOptions())
    assert "libedgetpu-absent.so.1 does not load" in told
    assert "docs/coral.md" in told
    assert "docs/coral.md" in message(MissingRuntimeError, edgetpu.probe)


def test_missing_device(compiled, with_library, monkeypatch, fake_system):
    find = edgetpu.find_devices
    monkeypatch.setattr(edgetpu, "find_devices", lambda: find(fake_system.root))
    told = message(MissingRuntimeError, edgetpu.load, compiled, LoadOptions())
    assert "1a6e:089a" in told
    assert "no Edge TPU found" in message(MissingRuntimeError, edgetpu.probe)
    fake_system.usb("18d1", "9302", 4)
    assert "on usb " in edgetpu.probe()


def test_device_and_options_reach_the_library(compiled, with_library, monkeypatch, fake_system):
    fake_system.usb("18d1", "9302", 4)
    find = edgetpu.find_devices
    monkeypatch.setattr(edgetpu, "find_devices", lambda: find(fake_system.root))
    given = []

    def fake_start(runtime, library, options):
        given.append((library, options))
        raise ValueError("failed to\nopen")

    monkeypatch.setattr(edgetpu, "start_delegate", fake_start)
    options = LoadOptions(device="usb:0", delegate_options={"performance": "Max"})
    told = message(MissingRuntimeError, edgetpu.load, compiled, options)
    assert "failed to open" in told
    assert given == [(edgetpu.LIBRARY, {"device": "usb:0", "performance": "Max"})]


def test_placement_is_the_compilers(compiled):
    backend = object.__new__(edgetpu.EdgeTpuBackend)
    backend._graph = compiled.graph
    placement = backend.placement()
    assert placement.delegated == (edgetpu.COMPILED_OPERATOR,)
    assert len(placement.on_cpu) == len(compiled.graph.operators) - 1
