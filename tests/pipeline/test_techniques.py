"""The zoo's list and the table of techniques."""

import json

import pytest
from click.testing import CliRunner

from models.cells import CELLS
from models.tasks import TASKS
from pipeline import technique_table
from pipeline.cli import main
from pipeline.earlier_techniques import EarlierDocument
from pipeline.recipe import load_recipe
from pipeline.technique_table import load_techniques, measured, technique_document

RECIPE = """
name = "two"
task = "japanese-vowels"
seeds = [1, 2]
schemes = ["float32", "int8"]
[[models]]
cell = "gru"
units = 8
[[models]]
cell = "lstm"
units = 8
"""


def result(file, scheme, accuracy, size, p50):
    return {
        "file": file,
        "scheme": scheme,
        "parameters": 100,
        "file_bytes": size,
        "metrics": {"accuracy": accuracy, "multiply_adds": 90, "seconds_per_epoch": 0.5},
        "latency_ns": {"step": {"percentiles": {"p50": p50, "p99": 2 * p50}}},
        "machine": {"model": "board", "cpu": "core", "cores": 4, "system": "Linux"},
        "backend": "litert",
        "backend_version": "2",
        "settings": {"threads": 1},
    }


@pytest.fixture
def finished(tmp_path):
    """A recipe of which one model was run, and the folder of its run."""
    (tmp_path / "two.toml").write_text(RECIPE)
    folder = tmp_path / "runs" / "two"
    folder.mkdir(parents=True)
    lines = [
        result(f"gru-8-s{seed}-{scheme}.tflite", scheme, accuracy, size, p50)
        for seed, accuracy in ((1, 0.5), (2, 0.7))
        for scheme, size, p50 in (("float32", 4000, 3000), ("int8", 1000, 1500))
    ]
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def techniques(folder, more=()):
    recipe = str(folder / "two.toml")
    sides = {"variant": {"model": "gru-8", "scheme": "int8"},
             "against": {"model": "gru-8", "scheme": "float32"}}  # fmt: skip
    return technique_table.Techniques.model_validate(
        {
            "cells": [recipe],
            "techniques": [
                {"name": "int8", "recipe": recipe, **sides},
                {"name": "parallel", "benchmark": "benchmarks/parallel.py"},
                *more,
            ],
        }
    )


def test_a_finished_run_is_put_into_the_table(finished):
    text = technique_document(techniques(finished), finished / "runs")
    assert "Machine: board (core, 4 cores, Linux), litert 2, 1 thread." in text
    assert (
        "| gru-8 | 100 | 90 | 0.50 | 60.0% | 60.0% | 4,000 | 3.00 | 6.00 | 1,000 | 1.50 | 3.00 |"
        in text
    )
    assert "| 0.25 x | 0.50 x | 60.0% |  |" in text
    assert "| parallel | not measured here yet |" in text


def test_a_benchmark_says_itself_what_it_found(finished):
    folder = finished / "runs" / "benchmarks"
    folder.mkdir()
    (folder / "parallel.json").write_text('{"case": "on all", "bytes": "", "p50": "0.1 x"}')
    text = technique_document(techniques(finished), finished / "runs")
    assert "| parallel | on all |  | 0.1 x |  |  | `python benchmarks/parallel.py` |" in text


def test_what_was_not_run_here_is_kept_with_its_date(finished):
    page, both = finished / "page.md", finished / "runs"
    listed = techniques(finished)
    (both / "benchmarks").mkdir()
    (both / "benchmarks" / "parallel.json").write_text('{"case": "on all", "p50": "0.1 x"}')
    page.write_text(technique_document(listed, both).replace("Made on 20", "Made on 19"))
    first = EarlierDocument.read(page)
    (both / "benchmarks" / "parallel.json").unlink()
    text = technique_document(listed, both, first)
    kept = f"| parallel (of {first.date}) | on all |  | 0.1 x |  |  |"
    assert kept in text
    # A second time, too, with the first date; and the tables of cells, with their machine.
    page.write_text(text)
    assert kept in technique_document(listed, both, EarlierDocument.read(page))
    other = finished / "other.toml"
    other.write_text(RECIPE.replace('"two"', '"other"'))
    now = technique_table.Techniques.model_validate(
        {"cells": [str(other), *listed.cells], "techniques": []}
    )
    title = f"## japanese-vowels: `edgestep run {other}`"
    page.write_text(
        text.replace(f"`edgestep run {listed.cells[0]}`\n", f"`edgestep run {other}`\n")
    )
    for _ in range(2):
        text = technique_document(now, both, EarlierDocument.read(page))
        assert f"{title}\n\nMeasured earlier, on " in text
        assert text.count("Measured earlier") == 1
        assert text.count("| gru-8 | 100 |") == 2
        page.write_text(text)


def test_nothing_run_and_another_recipes_results_are_refused(finished):
    result = CliRunner().invoke(main, ["techniques", "--runs-dir", str(finished / "none")])
    assert result.exit_code == 3
    assert "none of the recipes was run here" in result.output
    (finished / "two.toml").write_text(RECIPE.replace('"gru"', '"oru"'))
    with pytest.raises(Exception, match="run the recipe again"):
        measured(load_recipe(finished / "two.toml"), finished / "runs")


def test_the_listed_techniques_are_of_recipes_as_they_stand():
    """A renamed model would silently stay 'not measured'."""
    listed = load_techniques()
    for item in listed.techniques:
        if isinstance(item, technique_table.Finding):
            continue
        recipe = load_recipe(technique_table.Path(item.recipe))
        labels = {section.label for section in recipe.models}
        for side in (item.variant, item.against):
            assert side.model in labels, (item.name, side.model)
            assert side.scheme in map(str, recipe.schemes), (item.name, side.scheme)


def test_the_zoo_recipe_has_every_cell():
    from pathlib import Path

    assert {section.cell for section in load_recipe(Path("recipes/zoo.toml")).models} == set(CELLS)


def test_the_zoo_lists_all_cells_stacks_and_tasks():
    answer = json.loads(CliRunner().invoke(main, ["zoo", "--json"]).output)
    assert [item["cell"] for item in answer["cells"]] == list(CELLS)
    assert [item["task"] for item in answer["tasks"]] == list(TASKS)
    assert [item["stack"] for item in answer["stacks"]] == ["layered", "residual", "hierarchical"]
    assert {item["parameters"] for item in answer["stacks"]} == {
        3 * 64 * (12 + 64 + 2) + 3 * 64 * (64 + 64 + 2)
    }
    assert answer["stacks"][2]["recipe"] == "units = [64, 64], periods = [1, 4]"
    parameters = {item["cell"]: item["parameters"] for item in answer["cells"]}
    assert parameters["simple-rnn"] == 12 * 64 + 64 * 64 + 64
    assert all(item["purpose"] for kind in answer.values() for item in kind)


def test_the_zoo_keeps_names_and_purposes_apart():
    lines = CliRunner().invoke(main, ["zoo"]).output.split("tasks\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(TASKS)
    named = zip(lines, TASKS.values(), strict=True)
    assert len({line.index(entry.purpose) for line, entry in named}) == 1
