"""The page of a sweep: its answer, and the page in a headless Chromium."""

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from models.metrics import MetricDescription
from pipeline.sweep.log import RESULTS_FILE, SweepLog
from pipeline.sweep.page import answer, write_page
from pipeline.sweep.settings import SweepSettings
from tests.pipeline.sweep.test_bookkeeping import METRIC, SETTINGS, run


@pytest.fixture
def swept(tmp_path):
    """A sweep that has ended, with a front whose test scores are made up here."""
    run(tmp_path)
    log = SweepLog.load(tmp_path / RESULTS_FILE)
    records = sorted(log.complete(), key=lambda one: -one["objectives"]["accuracy"])[:2]
    log.front = {
        "trials": [
            {
                "trial": one["trial"],
                "file": f"{one['trial']:03}.tflite",
                "objectives": {**one["objectives"], "bytes": size},
                "test": score,
                "test_interval": [score - 0.02, score + 0.02],
            }
            for one, size, score in zip(records, (40_000, 9_000), (0.9, 0.85), strict=True)
        ]
    }
    return SweepSettings.model_validate(SETTINGS), MetricDescription(**METRIC), log


def test_the_answer_names_the_best_and_what_half_its_size_costs(swept):
    settings, metric, log = swept
    sentence = answer(settings, metric, log)
    best, other = (one["file"] for one in log.front["trials"])
    assert sentence.startswith(f"{best}: test accuracy 90.0% (88.0% to 92.0% in 95 %), ")
    assert sentence.endswith(f"half the size ({other}, 9,000 bytes) has 85.0% (83.0% to 87.0%)")
    log.front = None
    assert answer(settings, metric, log) == "No trial kept its constraints and was trained"


def test_the_page(swept, tmp_path, browser):
    settings, metric, log = swept
    page = tmp_path / "report.html"
    write_page(page, settings, metric, log, ["sweep", "my sweep.toml"])
    assert "edgestep sweep &#39;my sweep.toml&#39;" in page.read_text()
    browser.open(page.as_uri())
    browser.run("window.drawn.then(() => true)")
    assert browser.errors() == []
    rows = browser.run("document.querySelector('table.sorted').tBodies[0].rows.length")
    assert rows == len(log.trials)
    drawn = "Array.from(document.querySelectorAll('figure.chart svg'), (svg) => svg.clientWidth)"
    assert min(browser.run(drawn)) > 200
    marks = browser.run("document.querySelectorAll('#by-bytes .mark-symbol path').length")
    assert marks >= len(log.complete())
    assert "devices-title" not in page.read_text()  # one device


def test_several_devices_are_compared(swept, tmp_path, browser):
    settings, metric, log = swept
    for trial in log.front["trials"]:
        found = log.trials[trial["trial"]]["sha256"]
        for device, times in (("here", 1), ("pi4", 7)):
            log.measured[device, found] = {"p50_ns": 1000 * times, "p99_ns": 2000 * times,
                                           "steady": device == "here"}  # fmt: skip
    page = tmp_path / "report.html"
    write_page(page, settings, metric, log, ["sweep", "sweep.toml"])
    browser.open(page.as_uri())
    browser.run("window.drawn.then(() => true)")
    assert browser.errors() == []
    cells = browser.run(
        "Array.from(document.querySelectorAll('[aria-labelledby=devices-title] tbody tr'),"
        "(row) => Array.from(row.cells, (cell) => cell.textContent.trim()))"
    )
    assert [row[1] for row in cells] == ["here", "pi4 INVALID"] * 2
    assert [row[3] for row in cells] == ["1.00", "7.00"] * 2
