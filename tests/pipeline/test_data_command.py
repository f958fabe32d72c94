"""``edgestep data``, and a recipe on a user's own recordings."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.recipe import load_recipe


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """A folder with one file for each of six people."""
    chance = np.random.default_rng(4)
    (tmp_path / "my data").mkdir()
    for person in range(6):
        lines = ["time,subject,activity,x,y"]
        for row in range(120):
            activity = "rest" if row < 60 else "move"
            x, y = chance.normal(size=2) + (0 if row < 60 else 3)
            lines.append(f"{0.02 * row:.2f},p{person},{activity},{x:.4f},{y:.4f}")
        (tmp_path / "my data" / f"{person}.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my data"


def edgestep(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_draft_is_a_recipe_that_runs(recordings):
    drafted = edgestep("data", recordings)
    assert drafted.exit_code == 0, drafted.output
    assert drafted.output.splitlines() == ["my-data.toml", "then: edgestep data my-data.toml"]
    recipe = load_recipe(recordings.parent / "my-data.toml")
    assert recipe.data.labels == "column:activity"
    assert recipe.data.group == "column:subject"
    assert recipe.data.time == "time"
    looked = edgestep("data", "my-data.toml")
    assert looked.exit_code == 0, looked.output
    assert "inputs: x, y" in looked.output
    assert "a frame every 20 ms (from the column 'time')" in looked.output


def test_a_question_suggests_what_the_names_of_files_tell(tmp_path, monkeypatch):
    for number in range(24):
        place = tmp_path / "pumps" / ("idle", "running", "faulty")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        lines = ["time,current", *(f"{row / 50:.2f},{number % 3}" for row in range(20))]
        (place / f"pump_{'abcdef'[number // 4]}_{number:02}.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    drafted = edgestep("data", "pumps")
    pattern = re.search(r"name_pattern = ('[^']+')", drafted.output)[1]
    recipe = tmp_path / "pumps.toml"
    text = recipe.read_text()
    line = next(line for line in text.splitlines() if line.startswith("# group"))
    answer = f'group = "pattern"\nname_pattern = {pattern}\n'
    answer += 'validation_groups = ["e"]\ntest_groups = ["f"]'
    recipe.write_text(text.replace(line, answer))
    looked = edgestep("data", "pumps.toml")
    assert looked.exit_code == 0, looked.output
    (groups,) = (line for line in looked.output.splitlines() if line.startswith("│ groups"))
    assert re.findall(r"\d+", groups) == ["4", "1", "1"]


def test_a_draft_is_never_written_over_answers(recordings):
    (recordings.parent / "my-data.toml").write_text("mine")
    refused = edgestep("data", recordings)
    assert refused.exit_code == 2
    assert "my-data.toml is there, perhaps with your answers" in refused.output
    assert edgestep("data", recordings, "--force").exit_code == 0


def test_what_files_do_not_tell_is_asked(recordings):
    for path in recordings.iterdir():
        rows = [line.split(",")[3:] for line in path.read_text().splitlines()]
        path.write_text("\n".join(",".join(row) for row in rows))
    asked = edgestep("data", recordings)
    assert asked.exit_code == 0
    for key in ("labels", "group", "frame_period_s"):
        assert f"answer in it: {key} = " in asked.output
    unanswered = edgestep("data", "my-data.toml")
    assert unanswered.exit_code == 2
    assert "give 'labels'" in unanswered.output


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('labls = "folder"', "unknown key 'data.labls'; did you mean 'labels'?"),
        ('split = "half"', "'split' is one of"),
        ("window = -1", "'data.window' is wrong"),
    ],
)
def test_wrong_keys(recordings, line, part):
    edgestep("data", recordings)
    path = recordings.parent / "my-data.toml"
    path.write_text(path.read_text().replace("[data]", f"[data]\n{line}"))
    refused = edgestep("data", path)
    assert refused.exit_code == 2
    assert part in refused.output
    assert "Traceback" not in refused.output


def test_a_grave_finding_is_told(recordings):
    for path in recordings.iterdir():
        path.write_text((recordings / "0.csv").read_text().replace("p0", f"p{path.stem}"))
    edgestep("data", recordings)
    looked = edgestep("data", "my-data.toml")
    assert "GRAVE: " in looked.output
    assert "the figures flatter" in " ".join(looked.output.split())


@pytest.mark.slow
def test_a_recipe_on_a_folder_ends_in_step_models(recordings):
    edgestep("data", recordings)
    path = recordings.parent / "my-data.toml"
    text = path.read_text().replace("seeds = [1, 2, 3]", "seeds = [1]")
    text = text.replace("epochs = 100", "epochs = 5") + "\n[bench]\nsteps = 500\nrounds = 2\n"
    second = text.rindex("[[models]]")
    path.write_text(text[:second] + text[text.index("[bench]") :])
    ran = edgestep("run", path)
    assert ran.exit_code == 0, ran.output
    lines = (recordings.parent / "runs" / "my-data" / "results.jsonl").read_text().splitlines()
    assert {json.loads(line)["scheme"] for line in lines} == {"float32", "int8"}
    again = edgestep("run", path)
    assert "finished stages were skipped" in again.output
    model = next((recordings.parent / "runs" / "my-data").glob("*int8.tflite"))
    judged = edgestep("robustness", model, "--task", path, "--seeds", "1")
    assert judged.exit_code == 0, judged.output
