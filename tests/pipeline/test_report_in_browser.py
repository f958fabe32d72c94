"""A run's report in a headless Chromium: on a desktop, on a phone, in the dark, by keyboard, on
paper."""

from __future__ import annotations

import importlib.resources
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.browser import DESKTOP, PHONE, Page

LARGEST_BYTES = 3_000_000
SERIOUS = ("serious", "critical")
# Trained too little to be good; the page looks the same.
RECIPE = """
name = "page"
task = "japanese-vowels"
schemes = ["float32", "int8"]
[training]
epochs = 3
batch_size = 128
learning_rate = 0.01
[calibration]
steps = 1000
[bench]
steps = 1000
rounds = 2
warmup_s = 0.1
paced_s = 0.5
[[models]]
cell = "gru"
units = 8
[[models]]
cell = "simple-rnn"
units = 8
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "page.toml").write_text(RECIPE)
    run = ["run", f"{folder}/page.toml", "--runs-dir", str(folder)]
    files = [f"{folder}/page/{cell}-8-s1-int8.tflite" for cell in ("gru", "simple-rnn")]
    bench = ["bench", *files, "--backend", "reference", "--steps", "200", "--rounds", "2",
             "--output", f"{folder}/page/slow.jsonl"]  # fmt: skip
    # Frames come faster than Python can step them.
    paced = ["bench", files[0], "--paced", "--period", "0.00005", "--duration", "0.05",
             "--output", f"{folder}/page/fast.jsonl"]  # fmt: skip
    for command in (run, bench, paced, run):
        made = CliRunner().invoke(main, command)
        assert made.exit_code == 0, made.output
    return folder / "page" / "report.html"


def show(browser: Page, report: Path, size: tuple[int, int], scheme: str = "light") -> None:
    browser.resize(size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    browser.open(report.as_uri())
    browser.run("window.drawn.then(() => true)")


def test_the_page_is_small_and_soon_there(browser, report):
    assert report.stat().st_size < LARGEST_BYTES
    start = time.monotonic()
    show(browser, report, DESKTOP)
    # Two seconds at rest; the machine of a test has other work.
    assert time.monotonic() - start < 20
    assert browser.errors() == []
    fetched = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser.run(fetched) == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_lies_outside(browser, report, size):
    show(browser, report, size)
    assert browser.run("document.documentElement.scrollWidth") <= size[0]
    charts = browser.run(
        "Array.from(document.querySelectorAll('figure.chart'), (figure) => {"
        "const svg = figure.querySelector('svg').getBoundingClientRect();"
        "return [figure.id, svg.width, svg.height, svg.right]})"
    )
    assert {
        "by-latency",
        "by-size",
        "latencies",
        "errors",
        "confusion",
        "devices",
        "paced",
        "paced-stretch",
    } <= {c[0] for c in charts}
    for name, width, height, right in charts:
        assert width > 0.8 * min(size[0] - 40, 400), name
        assert height > 150, name
        assert right <= size[0] + 1, name


def test_the_table_fits_a_desktop(browser, report):
    show(browser, report, DESKTOP)
    cut_off = "document.querySelector('table.sorted').scrollWidth > " \
        "document.querySelector('.wide').clientWidth"  # fmt: skip
    assert not browser.run(cut_off)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, report, scheme):
    axe = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    show(browser, report, DESKTOP, scheme)
    browser.run(axe.read_text() + ";true")
    found = browser.run("axe.run().then((answer) => JSON.stringify(answer.violations))")
    serious = [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}"
        for one in json.loads(found)
        if one["impact"] in SERIOUS
    ]
    assert serious == []


def rows(browser: Page, column: int) -> list[str]:
    return browser.run(
        "Array.from(document.querySelector('table.sorted').tBodies[0].rows)"
        f".filter((row) => !row.hidden).map((row) => row.cells[{column}].textContent.trim())"
    )


def press(browser: Page, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
            **({"text": text} if text and kind == "keyDown" else {}),
        )  # fmt: skip


def test_sorted_and_filtered_by_keyboard_alone(browser, report):
    show(browser, report, DESKTOP)
    sizes = [int(size.replace(",", "")) for size in rows(browser, 3)]
    seen = []
    for _ in range(12):
        press(browser, "Tab", 9)
        seen.append(browser.run("document.activeElement.textContent || document.activeElement.id"))
        if seen[-1] == "file, bytes":
            break
    assert seen[0] == "filter"
    press(browser, "Enter", 13, "\r")
    assert [int(size.replace(",", "")) for size in rows(browser, 3)] == sorted(sizes)
    press(browser, "Enter", 13, "\r")
    assert [int(size.replace(",", "")) for size in rows(browser, 3)] == sorted(sizes, reverse=True)
    browser.run("document.getElementById('filter').focus()")
    browser.call("Input.insertText", text="gru int8")
    assert rows(browser, 0) == ["gru-8"]
    assert rows(browser, 1) == ["int8"]


def test_devices_are_compared(browser, report):
    show(browser, report, DESKTOP)
    cells = browser.run(
        "Array.from(document.querySelectorAll('[aria-labelledby=devices-title] tbody tr'),"
        "(row) => Array.from(row.cells, (cell) => cell.textContent.trim()))"
    )
    assert len(cells) == 4  # the files in float32 were measured on one backend alone
    assert [row[0] for row in cells].count("gru-8-s1-int8") == 2
    for first, other in zip(cells[::2], cells[1::2], strict=True):
        assert first[0] == other[0]
        assert other[1].endswith(", reference")
        assert first[3] == "1.00"
        ratio = float(other[2].replace(",", "")) / float(first[2])
        assert float(other[3].replace(",", "")) == pytest.approx(ratio, rel=0.02)
    dots = browser.run("document.querySelectorAll('#devices .mark-symbol.role-mark path').length")
    assert dots == 4
    assert "slow.jsonl" not in report.read_text()  # commands name what measures, not where it lies
    assert "--backend reference --steps 200 --rounds 2" in report.read_text()


def test_a_paced_run_is_chosen_by_keyboard(browser, report):
    show(browser, report, DESKTOP)
    list_ = "document.querySelector('select[data-signal]')"
    options = browser.run(f"Array.from({list_}.options, (one) => one.text)")
    assert len(options) == 5
    (late,) = (
        place for place, one in enumerate(options) if one.endswith(", a frame every 0.05 ms")
    )
    marks = "document.querySelectorAll('#paced-stretch .mark-rect path').length"
    triangles = (
        "Array.from(document.querySelectorAll('#paced .mark-symbol path'))"
        ".filter((one) => one.getAttribute('fill') === '#d0342c').length"
    )
    browser.run(f"{list_}.focus()")
    for _ in range(late):
        press(browser, "ArrowDown", 40)
    assert browser.run(f"{list_}.selectedIndex") == late
    browser.wait(f"{triangles} > 0")
    assert browser.run(marks) > 20
    assert browser.errors() == []


def test_all_columns_on_demand(browser, report):
    show(browser, report, DESKTOP)
    shown = "getComputedStyle(document.querySelector('th.more')).display"
    assert browser.run(shown) == "none"
    browser.run("document.getElementById('more').click()")
    assert browser.run(shown) == "table-cell"


def test_one_model_is_chosen_in_a_list(browser, report):
    show(browser, report, DESKTOP)
    options = browser.run(
        "Array.from(document.querySelector('#by-latency select').options, (one) => one.textContent)"
    )
    assert options == ["all models", "gru-8", "simple-rnn-8"]


def test_on_paper(browser, report):
    show(browser, report, DESKTOP)
    printed = browser.call("Page.printToPDF", printBackground=True)["data"]
    assert len(printed) > 10_000


def test_the_answer_is_at_the_top(report):
    text = report.read_text()
    answer = text[text.index('class="answer">') :].split("</p>")[0]
    for part in (
        "accuracy",
        "in 95 %",
        "kB",
        " us a step and ",
        "a frame before it on",
        "deadline 6.4 ms",
    ):
        assert part in answer
    assert "Why this one: " in text
