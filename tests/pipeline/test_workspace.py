"""Stages are done once, resumed after an interruption, and redone when a dependency changes."""

import contextlib
import shutil

import numpy as np
import pytest

from models.checkpoint import open_checkpoint, write_checkpoint
from pipeline.errors import PipelineError
from pipeline.source_trace import Sources
from pipeline.work import Work, Workshop
from pipeline.workspace import Workspace

SOURCES = Sources({"models.training": "0123"}, {"numpy": "2"})


class Counted:
    """A stage's work that counts how often it was done."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "result").write_text(str(self.calls))


def do(workspace, build, sources=SOURCES, **settings):
    return workspace.stage("train", "gru", settings, sources, build)


def test_a_finished_stage_is_not_done_again(tmp_path):
    build = Counted()
    first = do(Workspace(tmp_path), build, epochs=1)
    second = do(Workspace(tmp_path), build, epochs=1)
    assert first == second
    assert build.calls == 1


def test_other_dependencies_are_another_stage(tmp_path):
    build = Counted()
    first = do(Workspace(tmp_path), build, epochs=1)
    second = do(Workspace(tmp_path), build, epochs=2)
    assert first.folder != second.folder
    assert (first.folder / "result").read_text() == "1"
    assert (second.folder / "result").read_text() == "2"


def test_an_interrupted_stage_finds_what_it_left_and_is_not_finished(tmp_path):
    def interrupted(folder):
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(Workspace(tmp_path), interrupted, epochs=1)
    found = []

    def resumed(folder):
        found.append((folder / "checkpoint").read_text())

    stage = do(Workspace(tmp_path), resumed, epochs=1)
    assert found == ["half"]
    assert stage.folder.is_dir()


def test_again_does_a_finished_stage_anew(tmp_path):
    build = Counted()
    do(Workspace(tmp_path), build)
    do(Workspace(tmp_path, again=["train"]), build)
    do(Workspace(tmp_path, again=["bench"]), build)
    assert build.calls == 2


@pytest.mark.parametrize(
    "sources",
    [
        Sources({"models.training": "4567"}, {"numpy": "2"}),
        Sources(SOURCES.modules, {"numpy": "3"}),
    ],
    ids=["other code", "another version"],
)
def test_other_code_is_another_stage(tmp_path, sources):
    build = Counted()
    first = do(Workspace(tmp_path), build)
    assert do(Workspace(tmp_path), build, sources).key != first.key
    assert build.calls == 2


def test_two_runs_at_once_are_kept_apart(tmp_path):
    with (
        Workspace(tmp_path).locked(),
        pytest.raises(PipelineError, match="another 'edgestep run' is at work in"),
        Workspace(tmp_path).locked(),
    ):
        pass
    with Workspace(tmp_path).locked():
        pass


# What is done is checked before it is used


def wrote_several(folder):
    (folder / "weights").mkdir()
    (folder / "weights" / "w.bin").write_bytes(bytes(range(256)) * 8)
    (folder / "ranges.json").write_text('{"steps": 4000}')


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def removed(path):
    path.unlink()


@pytest.mark.parametrize("harm", [cut, emptied, flipped, removed])
@pytest.mark.parametrize("name", ["weights/w.bin", "ranges.json", "depends_on.json"])
def test_a_damaged_result_is_made_again_and_said_so(tmp_path, name, harm):
    folder = do(Workspace(tmp_path), wrote_several).folder
    before = (folder / name).read_bytes()
    harm(folder / name)
    lines, done = [], []
    again = Workspace(tmp_path, announce=lambda *facts: done.append(facts), warn=lines.append)
    assert do(again, wrote_several).folder == folder
    assert (folder / name).read_bytes() == before
    (line,) = lines
    assert name in line
    assert line.startswith(str(folder))
    assert line.endswith("it is made again")
    assert done == [("gru", "train", True)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"files": 3}', b"\xff", b'{"files": {"a": {}}}']
)
def test_without_a_readable_manifest_nothing_is_believed(tmp_path, content):
    folder = do(Workspace(tmp_path), wrote_several).folder
    (folder / "manifest.json").write_bytes(content)
    lines = []
    do(Workspace(tmp_path, warn=lines.append), wrote_several)
    assert "manifest.json is damaged" in lines[0]
    lines.clear()
    do(Workspace(tmp_path, warn=lines.append), wrote_several)
    assert lines == []


class Resuming(Work):
    """A stage that resumes from a checkpoint."""

    name = "train"
    subject = "gru"
    needs_tensorflow = False

    def settings(self):
        return {}

    def build(self, folder, report):
        file = folder / "checkpoint.npz"
        if file.exists():
            with open_checkpoint(file) as (facts, arrays):
                assert (facts, arrays["w"].tolist()) == ({"epoch": 3}, [1, 2])
        (folder / "resumed").write_text(str(file.exists()))


def changed_weight(path):
    content, weights = path.read_bytes(), np.array([1, 2]).tobytes()
    assert content.count(weights) == 1
    path.write_bytes(content.replace(weights, np.array([1, 3]).tobytes()))


@pytest.mark.parametrize("harm", [None, cut, emptied, changed_weight])
def test_a_damaged_checkpoint_is_left_and_said_so(tmp_path, harm):
    lines = []
    workspace = Workspace(tmp_path, warn=lines.append)
    workshop = Workshop(workspace, lambda *_: contextlib.nullcontext(lambda *_: None))
    parent = workshop.do(Resuming()).folder
    file = parent.with_name(parent.name + ".partial") / "checkpoint.npz"
    shutil.rmtree(parent)
    write_checkpoint(file, {"epoch": 3}, {"w": np.array([1, 2])})
    if harm:
        harm(file)
    stage = workshop.do(Resuming())
    assert (stage.folder / "resumed").read_text() == str(harm is None)
    assert [line.split(": ")[0] for line in lines] == ([str(file)] if harm else [])
