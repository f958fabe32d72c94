"""A stage's key follows what the stage imports, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convert.schemes.spec import SchemeSpec
from pipeline.networks import networks_of
from pipeline.recipe import BenchSection, Recipe
from pipeline.source_trace import ROOT, Tracer
from pipeline.stages.baseline import Baseline
from pipeline.stages.bench import Bench
from pipeline.stages.calibrate import Calibrate
from pipeline.stages.check import Check
from pipeline.stages.compress import Compress
from pipeline.stages.convert import Convert
from pipeline.stages.qat import QuantizationAwareTraining
from pipeline.stages.train import Train
from pipeline.stages.verify import Verify
from pipeline.work import Work
from pipeline.workspace import Stage

PACKAGES = ("models", "calibration", "convert", "device_runner", "pipeline")
PRUNED = {"prune": {"sparsity": 0.5}}
NOWHERE = Stage(Path("nowhere"), "key")


@pytest.fixture
def sources(tmp_path):
    """A copy of our packages, to be edited."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    return tmp_path


def recipe_of(task: str, cell: str = "gru", **settings) -> Recipe:
    model = {"cell": cell, "units": 8, **PRUNED}
    return Recipe.model_validate({"name": "x", "task": task, "models": [model], **settings})


def works_of(recipe: Recipe) -> dict[str, Work]:
    """Return every stage of a recipe with one network, by name."""
    (network,) = networks_of(recipe)
    works = [
        Check(recipe),
        Baseline(recipe),
        Train(recipe, network),
        Compress(recipe, network, "prune", NOWHERE),
        Calibrate(recipe, network, NOWHERE),
        QuantizationAwareTraining(recipe, network, SchemeSpec("int8", qat=True), NOWHERE, NOWHERE),
        Convert(recipe, network, NOWHERE, NOWHERE, {}),
        Verify(()),
        Bench((), recipe.bench),
    ]
    return {work.name: work for work in works}


def keys(root: Path, task: str = "japanese-vowels", cell: str = "gru") -> dict[str, object]:
    """What the keys of all stages are made of, by stage, with the code in a folder."""
    tracer = Tracer(root)
    return {
        name: tracer.trace(work.modules(), work.chosen(), work.distributions)
        for name, work in works_of(recipe_of(task, cell)).items()
    }


def edit(root: Path, file: str, more: str = "\nADDED = 1\n") -> None:
    path = root / file
    assert path.exists()
    path.write_text(path.read_text() + more)


def changed(root: Path, file: str, more: str = "\nADDED = 1\n", **choice) -> set[str]:
    """Return the stages whose key changes with an edit."""
    before = keys(root, **choice)
    edit(root, file, more)
    after = keys(root, **choice)
    return {name for name in before if before[name] != after[name]}


OF_THE_DATA = {"check", "baseline", "train", "prune", "calibrate", "qat", "convert"}


@pytest.mark.parametrize(
    ("module", "task"), [("text", "char-lm"), ("log_mel", "keywords-synthetic")]
)
def test_an_edited_front_end_changes_the_tasks_that_use_it_and_no_other(sources, module, task):
    file = f"device_runner/front_ends/{module}.py"
    before = {name: keys(sources, name) for name in (task, "japanese-vowels", "stocks")}
    edit(sources, file)
    for name, old in before.items():
        new = keys(sources, name)
        stages = {stage for stage in old if old[stage] != new[stage]}
        assert stages >= OF_THE_DATA if name == task else not stages & OF_THE_DATA, name


@pytest.mark.parametrize(
    "file", ["models/training.py", "models/tasks/japanese_vowels.py", "device_runner/stream.py"]
)
@pytest.mark.parametrize(
    "more",
    ["\n# A comment.\n", '\n\ndef _unused() -> None:\n    """Is here already."""\n'],
    ids=["comment", "docstring"],
)
def test_words_change_no_key(sources, file, more):
    if "def" in more:
        edit(sources, file, more.replace('"""Is here already."""', '"""Says more."""'))
        before = keys(sources)
        path = sources / file
        path.write_text(path.read_text().replace("Says more.", "Says less."))
        assert keys(sources) == before
    else:
        assert not changed(sources, file, more)


def test_another_tasks_or_cells_file_changes_no_key(sources):
    before = keys(sources)
    for file in ("models/tasks/stocks.py", "models/cells/oru.py", "models/compress/clustering.py"):
        edit(sources, file)
    assert keys(sources) == before


def test_another_line_in_a_registry_changes_no_key_and_the_own_line_does(sources):
    before = keys(sources)
    path = sources / "models" / "cells" / "__init__.py"
    listed = path.read_text()
    path.write_text(
        listed.replace('    "gru": ', '    "new": CellEntry("new.New", "", ""),\n    "gru": ')
    )
    assert keys(sources) == before
    path.write_text(listed.replace('"gru.GRUCell"', '"lstm.LSTMCell"'))
    assert keys(sources)["train"] != before["train"]


def test_code_changes_the_stages_that_run_it(sources):
    assert changed(sources, "models/tasks/japanese_vowels.py") == OF_THE_DATA
    assert changed(sources, "models/cells/gru.py") == OF_THE_DATA - {"baseline"}
    assert changed(sources, "models/compress/pruning.py") == {"check", "prune"}
    assert changed(sources, "models/cells/gru.py", cell="lstm") == set()
    assert changed(sources, "convert/simulation.py") == {"qat", "convert"}
    assert changed(sources, "device_runner/measure/latency.py") == {"bench"}
    assert changed(sources, "device_runner/commands/bench.py") == {"bench"}
    assert changed(sources, "device_runner/verify.py") >= {"verify", "convert"}
    assert not changed(sources, "device_runner/commands/translate.py")
    assert not changed(sources, "device_runner/measure/paced.py") & (OF_THE_DATA - {"convert"})


def test_every_stage_counts_its_own_file(sources):
    for stage in (
        "baseline",
        "train",
        "compress",
        "calibrate",
        "qat",
        "convert",
        "verify",
        "bench",
    ):
        name = {"compress": "prune"}.get(stage, stage)
        assert name in changed(sources, f"pipeline/stages/{stage}.py"), stage


def test_the_data_that_a_module_reads_counts(sources):
    path = sources / "device_runner" / "measure" / "result.schema.json"
    before = keys(sources)
    path.write_text(path.read_text() + " ")
    assert keys(sources)["train"] == before["train"]


@pytest.mark.parametrize(
    ("task", "distribution"),
    [
        ("japanese-vowels", "sktime"),
        ("language-id", "Django"),
        ("language-id", "scikit-learn"),
        ("translation", "polib"),
        ("keywords-synthetic", "pymicro-features"),
        ("stocks", "bokeh_sampledata"),
        ("watch-exercises", "seglearn"),
    ],
)
def test_distributions_are_those_that_the_code_imports(task, distribution):
    found = keys(ROOT, task)
    versions = {name.lower().replace("_", "-") for name in found["train"].versions}
    assert distribution.lower().replace("_", "-") in versions
    assert {"tensorflow", "tf-keras", "numpy"} <= versions
    others = {"sktime", "django", "polib", "pymicro-features", "bokeh-sampledata", "seglearn"}
    if distribution.lower() != "scikit-learn":
        assert others & versions <= {distribution.lower().replace("_", "-"), "polib", "django"}
    assert "ai-edge-litert" in found["verify"].versions
    assert "edgestep" in found["convert"].versions


def test_settings_of_the_benchmark_change_its_key_alone():
    before, after = (
        works_of(
            recipe_of("stocks", bench=BenchSection(steps=steps).model_dump(), targets=[target])
        )
        for steps, target in ((500, "cpu"), (600, "micro"))
    )
    changed = {name for name in before if before[name].settings() != after[name].settings()}
    assert changed == {"bench"}


def test_another_model_of_the_recipe_does_not_convert_this_one_anew():
    recipe = recipe_of("stocks")
    other = recipe.models[0].model_copy(update={"units": 9})
    more = recipe.model_copy(update={"models": [*recipe.models, other]})
    before, after = (
        Convert(one, networks_of(one)[0], NOWHERE, NOWHERE, {}) for one in (recipe, more)
    )
    assert before.settings() == after.settings()
