"""The pages of robustness and saliency in a headless Chromium: a classifier, a forecaster, a text
model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.tasks import load_task
from pipeline.cli import main
from tests.browser import DESKTOP, Page
from tests.conftest import KEPT_STEP_MODELS

# Of the sequences of the long tests.
STEPS = 50
# Events of the protocol that tell of an error on the page.
# Trained too little to be good; the pages look the same.
RECIPE = """
name = "{task}"
task = "{task}"
schemes = ["float32", "int8"]
[training]
epochs = 2
batch_size = 128
learning_rate = 0.008
[calibration]
steps = 1000
[[models]]
cell = "gru"
units = 16
{more}
"""


def look(browser: Page, page: Path, pictures: int) -> None:
    """Open a page: no errors, its pictures are seen, nothing lies outside."""
    browser.open(page.as_uri())
    assert browser.errors() == []
    sizes = browser.run(
        "Array.from(document.querySelectorAll('svg'), (svg) => [svg.getBoundingClientRect().width,"
        "svg.getBoundingClientRect().height])"
    )
    assert len(sizes) == pictures
    assert np.min(sizes) > 100
    assert browser.run("document.documentElement.scrollWidth") <= DESKTOP[0]
    cut_off = "(table) => table.scrollWidth > table.parentElement.clientWidth"
    assert not browser.run(f"Array.from(document.querySelectorAll('table')).some({cut_off})")
    assert not re.search(r"\bnan\b|\binf\b", browser.run("document.body.innerText"))


def make(*command: object) -> None:
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 0, result.output


def test_pages_of_a_classifier(browser, vowels, tmp_path):
    models = [KEPT_STEP_MODELS / f"gru-{scheme}.tflite" for scheme in ("float32", "int8")]
    data, wanted = tmp_path / "data.npy", tmp_path / "wanted.npy"
    chosen = [i for i, one in enumerate(vowels.test.sequences) if len(one) >= 12][:4]
    np.save(data, np.stack([vowels.test.sequences[i][:12] for i in chosen]))
    np.save(wanted, vowels.test.labels[chosen])
    page = tmp_path / "robustness.html"
    make("robustness", *models, "--data", data, "--wanted", wanted, "--seeds", 1, "--output", page)
    look(browser, page, 1)
    page = tmp_path / "saliency.html"
    make("saliency", models[0], "--data", data, "--sequences", 2, "--output", page)
    look(browser, page, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "more"), [("stock-ranges", ""), ("language-id", "embedding = 8")])
def test_pages_of_a_forecaster_and_of_a_text_model(browser, tmp_path, task, more):
    recipe = tmp_path / f"{task}.toml"
    recipe.write_text(RECIPE.format(task=task, more=more))
    make("run", recipe, "--runs-dir", tmp_path, "--until", "convert")
    models = [tmp_path / task / f"gru-16-s1-{scheme}.tflite" for scheme in ("float32", "int8")]
    test = load_task(task).test
    long = [place for place, one in enumerate(test.sequences) if len(one) >= STEPS]
    some = long[:: -(-len(long) // 40)]
    data, wanted = tmp_path / "data.npy", tmp_path / ("wanted.npz" if test.values else "wanted.npy")
    np.save(data, np.stack([test.sequences[place][:STEPS] for place in some]))
    if test.values:
        np.savez(wanted, *(test.values[place][:STEPS] for place in some))
    else:
        np.save(wanted, test.labels[some])
    page = tmp_path / "robustness.html"
    make("robustness", *models, "--data", data, "--wanted", wanted, "--seeds", 1, "--output", page)
    look(browser, page, 1)
    page = tmp_path / "saliency.html"
    make("saliency", models[0], "--data", data, "--sequences", 2, "--output", page)
    # A text stands for the pictures of its frames.
    look(browser, page, 4 if test.values else 2)
    letters = "Array.from(document.querySelectorAll('.text'), (text) => text.innerText.length)"
    assert browser.run(letters) == ([] if test.values else [STEPS, STEPS])
