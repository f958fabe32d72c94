"""Stages are done once, resumed after an interruption, and redone when a dependency changes."""

import pytest

from pipeline.errors import PipelineError
from pipeline.source_trace import Sources
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
