"""The builder of the emulated root, without building one."""

import pytest

from tests.arm64 import emulated_arm
from tests.arm64.emulated_arm import ARCHITECTURES, BOARDS, EmulationError, build


@pytest.fixture
def fillings(monkeypatch, tmp_path):
    """Replaces the work of a build; a function in the list is called in its place, once."""
    steps = []

    def fill(root, packages):
        (root / "half").touch()
        if steps:
            steps.pop()()
        (root / "complete").touch()

    monkeypatch.setattr(emulated_arm, "_fill", fill)
    return steps


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_build_is_never_taken_as_whole(fillings, tmp_path):
    fillings.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    assert not list(tmp_path.glob("root-*"))
    (tmp_path / "root.partial" / "left over").touch()
    root = build(tmp_path)
    assert sorted(file.name for file in root.iterdir()) == ["complete", "half"]


def test_a_root_is_built_once_and_anew_for_another_recipe(fillings, tmp_path, monkeypatch):
    first = build(tmp_path)
    fillings.append(interrupt)
    assert build(tmp_path) == first
    fillings.clear()
    monkeypatch.setattr(emulated_arm, "_recipe_hash", lambda: "another")
    second = build(tmp_path)
    assert [root.name for root in tmp_path.glob("root-*")] == [second.name] == ["root-another"]


def test_a_machine_without_apt_is_told_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(emulated_arm.shutil, "which", lambda tool: None)
    with pytest.raises(EmulationError, match="apt-get is missing; build the Arm root on Debian 12"):
        build(tmp_path)


def test_a_failing_command_is_one_line_with_its_reason():
    with pytest.raises(EmulationError) as caught:
        emulated_arm._call("sh", "-c", "echo 'E: Unable to locate package x\nmore' >&2; exit 100")
    assert str(caught.value).startswith("sh failed: E: Unable to locate package x; ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda found: found.name)
def test_every_wheel_is_pinned_with_its_hash(architecture):
    for runtime in architecture.runtimes:
        text = (emulated_arm.HERE / f"{runtime}-{architecture.name}.txt").read_text()
        pins = [line for line in text.splitlines() if "==" in line]
        assert any(pin.startswith(f"{runtime}==") for pin in pins)
        assert text.count("--hash=sha256:") == len(pins)


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_never_passes_for_the_real_one(board):
    assert board.cpuinfo().count("CPU part\t: " + board.part) == 4
    assert "Raspberry" not in board.cpuinfo()
    assert "emulated" in board.model
