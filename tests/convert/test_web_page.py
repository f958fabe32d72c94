"""The page of 'edgestep export-web', in a headless Chromium: it steps as the C library does."""

from __future__ import annotations

import base64
import json
import re
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert.exporters.web_library import compile_library, library_path, web_library
from convert.exporters.web_page import export_web, web_page
from device_runner.errors import MissingRuntimeError
from device_runner.front_ends import sound_front_end
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from pipeline.cli import main
from tests.browser import Page
from tests.conftest import EACH_VARIANT, KEPT_STEP_MODELS

KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))
GRU = KEPT_STEP_MODELS / "gru-int8.tflite"
# Of float32 outputs, beside the C library of another instruction set: shares of 1 or of their size.
FLOAT_DIFFERENCE = 1e-6
RATE = 10_000


@pytest.fixture(scope="module", autouse=True)
def library(made_once):
    """The library, which one worker compiles while the others wait."""
    try:
        return made_once("libedgestep.wasm", lambda path: path.write_bytes(web_library()))
    except MissingRuntimeError as error:
        pytest.skip(error.message)


def opened(browser: Page, model: Path, folder: Path) -> Page:
    """Export a model and open its page from a file."""
    path = folder / f"{model.stem}.html"
    export_web(load_step_model(model), path)
    browser.open(path.as_uri())
    browser.run("edgestep.then(page => window.page = page) && null")
    browser.wait("window.page !== undefined")
    return browser


def text(browser: Page, name: str) -> str:
    return browser.run(f"document.getElementById('{name}').textContent")


def seeded_frames(stream: Stream, count: int) -> list[bytes]:
    generator, frames = np.random.default_rng(4), []
    for _ in range(count):
        frame = b""
        for spec in stream.model.contract.inputs:
            values = generator.normal(0, 1, spec.shape)
            if spec.scale is not None:
                limits = np.iinfo(spec.dtype)
                values = generator.integers(limits.min, limits.max, spec.shape, endpoint=True)
            frame += values.astype(spec.dtype).tobytes()
        frames.append(frame)
    return frames


def stepped_in_browser(browser: Page, frames: list[bytes]) -> bytes:
    given = browser.run(
        "(() => { const frames = bytesOfBase64('" + base64.b64encode(b"".join(frames)).decode()
        + "'), { engine } = page; engine.reset(); const all = [];"
        "for (let at = 0; at < frames.length; at += engine.inputBytes)"
        "  all.push(...engine.stepBytes(frames.subarray(at, at + engine.inputBytes)));"
        "return btoa(Array.from(all, (byte) => String.fromCharCode(byte)).join('')); })()"
    )  # fmt: skip
    return base64.b64decode(given)


@pytest.mark.parametrize("model", KEPT, ids=lambda path: path.stem)
def test_the_page_tests_itself_and_steps_as_the_library(browser, model, tmp_path):
    page = opened(browser, model, tmp_path)
    assert re.match(r"passed: \d+ golden steps, rms error", text(page, "test-text"))
    stream = Stream(model, "native")
    frames = seeded_frames(stream, 150)
    found = stepped_in_browser(page, frames)
    expected = b"".join(stream.step_bytes(frame) for frame in frames)
    assert len(found) == len(expected)
    if stream.model.contract.output.dtype == "int8":
        assert found == expected
    else:
        both = [np.frombuffer(one, np.float32) for one in (found, expected)]
        np.testing.assert_allclose(*both, rtol=FLOAT_DIFFERENCE, atol=FLOAT_DIFFERENCE)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_every_cell_steps_in_the_browser_as_in_the_library(
    browser, step_models, tmp_path, cell, options
):
    for scheme in ("int8", "int16x8", "float16"):
        if scheme == "int16x8" and cell not in ("gru", "lstm", "simple-rnn", "oru"):
            continue
        model = step_models(cell, scheme, **options)
        page, stream = opened(browser, model, tmp_path), Stream(model, "native")
        assert text(page, "test-text").startswith("passed"), scheme
        frames = seeded_frames(stream, 100)
        found = stepped_in_browser(page, frames)
        expected = b"".join(stream.step_bytes(frame) for frame in frames)
        if scheme == "float16":
            both = [np.frombuffer(one, np.float32) for one in (found, expected)]
            np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-5)
        else:
            assert found == expected, scheme


def test_it_asks_for_nothing_from_elsewhere(browser, tmp_path):
    page = opened(browser, GRU, tmp_path)
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert all(url.startswith("file:") for url in asked)
    refused = "fetch('https://example.org/').then(() => 'loaded', (error) => error.message)"
    assert page.run(refused) != "loaded"
    faults = [event for event in page.events if "exceptionDetails" in event.get("params", {})]
    assert not faults


def test_csv_lines_are_stepped(browser, tmp_path):
    page, stream = opened(browser, GRU, tmp_path), Stream(GRU, "native")
    x = stream.model.golden.x[:20]
    lines = [",".join(f"{value:.9g}" for value in row) for row in x.tolist()]
    file = tmp_path / "frames.csv"
    file.write_text("\n".join(["1," * 11 + "1", "", *lines]) + "\n")
    page.choose("#csv", file)
    page.wait("page.runner.display.steps === 21 && document.getElementById('stop').disabled")
    shown = page.run("Array.from(page.runner.display.rows.at(-1))")
    np.testing.assert_allclose(shown, stream.run(x)[-1], atol=1e-6)
    assert text(page, "decision") == stream.model.labels[int(np.argmax(shown))]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("1,2,3\n", "line 1: it has 3 values, the model takes 12"),
        ("1," * 11 + "<img src=x onerror=alert(1)>\n", "line 1: '<img src=x onerror=alert(1)>' is"),
        ("1e39," * 11 + "1\n", "not finite"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(browser, tmp_path, content, complaint):
    page = opened(browser, GRU, tmp_path)
    file = tmp_path / "frames.csv"
    file.write_text(content)
    page.choose("#csv", file)
    page.wait("document.getElementById('message').textContent !== ''")
    assert complaint in text(page, "message")
    assert page.run("document.images.length") == 0


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(samples.astype("<i2").tobytes())


def test_a_wav_file_goes_through_the_models_front_end(browser, tmp_path):
    page, stream = opened(browser, GRU, tmp_path), Stream(GRU, "native")
    times = np.arange(RATE // 2) / RATE
    noise = np.random.default_rng(1).normal(0, 300, len(times))
    samples = (8000 * np.sin(2 * np.pi * 220 * times) + noise).astype(np.int16)
    write_wav(tmp_path / "tone.wav", samples)
    page.choose("#wav", tmp_path / "tone.wav")
    front_end = sound_front_end(stream.model.contract.front_end)
    outputs = [stream.step(frame) for frame in front_end.frames([samples])]
    page.wait(f"page.runner.display.steps === {len(outputs)}")
    rows = page.run("page.runner.display.rows.map((row) => Array.from(row))")
    # A value beside the middle of two steps of the grid may be rounded to either.
    step = stream.model.contract.output.scale
    np.testing.assert_allclose(rows, outputs, atol=3 * step)
    assert np.mean(np.abs(np.array(rows) - outputs) > 1e-6) < 0.05


def sounds() -> dict[str, np.ndarray]:
    generator, times = np.random.default_rng(0), np.arange(16_000)
    chirp = 9000 * np.sin(np.cumsum(0.02 + 0.05 * np.sin(times / 900))) * np.sin(times / 3000)
    return {
        "silence": np.zeros(2000), "loudest": np.full(2000, -32768),
        "noise": generator.integers(-32768, 32767, 4000), "quiet": generator.normal(0, 3, 4000),
        "chirp": chirp + generator.normal(0, 50, len(times)),
    }  # fmt: skip


def test_log_mel_frames_are_those_of_training(browser, tmp_path):
    log_mel = pytest.importorskip("device_runner.front_ends.log_mel")
    pytest.importorskip("pymicro_features")
    page = opened(browser, GRU, tmp_path)
    for name, sound in sounds().items():
        samples = sound.astype(np.int16)
        found = page.run(
            f"Array.from(new LogMel(2).frames({samples.tolist()}), (frame) => Array.from(frame))"
        )
        expected = log_mel.LogMel(log_mel.describe(every=2))(samples)
        assert np.shape(found) == expected.shape, name
        # Few values lie where a last digit of a cosine decides.
        assert np.mean(np.abs(np.array(found) - expected) > 1e-6) <= 0.001, name
    described = {**log_mel.describe(every=2), "hop_samples": 161}
    message = page.run(
        f"(() => {{ try {{ readLogMel({json.dumps(described)}); }} catch (e) "
        "{ return e.message; } })()"
    )
    assert "not the log-mel front end of this page" in message


def test_a_wav_file_that_does_not_fit_is_refused(browser, tmp_path):
    page = opened(browser, GRU, tmp_path)
    write_wav(tmp_path / "fast.wav", np.zeros(100), rate=44_100)
    (tmp_path / "cut.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff\x01")
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    for name, complaint in (
        ("fast", "44100 Hz"), ("cut", "cut off"), ("none", "not a WAV file"),
    ):  # fmt: skip
        page.choose("#wav", tmp_path / f"{name}.wav")
        page.wait(f"document.getElementById('message').textContent.includes('{complaint}')")


def test_the_microphone_is_stepped_and_stopped(browser, tmp_path):
    page = opened(browser, GRU, tmp_path)
    page.run("document.getElementById('mic').click()")
    page.wait("page.runner.display.steps > 20")
    assert page.run("document.getElementById('mic').getAttribute('aria-pressed')") == "true"
    page.run("document.getElementById('stop').click()")
    assert page.run("document.getElementById('mic').getAttribute('aria-pressed')") == "false"
    assert text(page, "message") == ""


def test_a_step_is_measured_in_batches(browser, tmp_path):
    page = opened(browser, GRU, tmp_path)
    page.run("document.getElementById('measure').click()")
    assert re.match(r"p50 [\d.e-]+ µs, p99 [\d.e-]+ µs a step: of the means of \d+ batches of \d+ "
                    r"steps", text(page, "measured"))  # fmt: skip


def test_a_model_that_computes_something_else_fails_its_test(browser, tmp_path):
    model = load_step_model(GRU)
    name = model.contract.output.name
    wrong = replace(model.golden, outputs={name: model.golden.outputs[name][:, ::-1] + 3})
    path = tmp_path / "wrong.html"
    path.write_text(web_page(replace(model, golden=wrong)))
    browser.open(path.as_uri())
    browser.wait("!document.getElementById('test-text').textContent.startsWith('loading')")
    assert text(browser, "test-text").startswith("failed: 32 golden steps")


def test_the_page_is_small_and_names_are_text(tmp_path):
    model = replace(load_step_model(GRU), path=tmp_path / "<script>alert(1)</script>.tflite")
    page = web_page(model)
    assert "<script>alert" not in page
    assert len(page) - 4 * len(model.flatbuffer) / 3 < 400_000
    assert "http" not in page.replace("http-equiv", "")
    assert "connect-src" not in page
    assert "default-src 'none'" in page
    script = page[page.rindex("<script>") :]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script)


def test_the_command_writes_it_and_leaves_what_is_not_its_own(tmp_path):
    model = tmp_path / "gru.tflite"
    shutil.copyfile(GRU, model)
    for _ in range(2):  # its own page is replaced
        result = CliRunner().invoke(main, ["export-web", str(model)])
        assert result.exit_code == 0, result.output
        assert "gru.html" in result.output
    (tmp_path / "gru.html").write_text("<p>mine</p>")
    result = CliRunner().invoke(main, ["export-web", str(model)])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "--force" in result.output


def test_without_a_compiler_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("convert.exporters.web_library.FOLDER", tmp_path)
    with pytest.raises(MissingRuntimeError, match="install clang and lld"):
        web_library()
    monkeypatch.setattr("convert.exporters.web_library.SOURCES", tmp_path)
    with pytest.raises(MissingRuntimeError, match="or an edgestep wheel"):
        web_library()
    (tmp_path / "libedgestep-0.wasm").write_bytes(b"\0asm")
    assert web_library() == b"\0asm"


@pytest.mark.slow
def test_the_same_sources_give_the_same_library():
    if shutil.which("clang") is None:
        pytest.skip("there is no clang")
    assert compile_library() == library_path().read_bytes()


def facts_of(page: str) -> dict:
    import zlib

    packed = re.search(r'id="data-facts">([^<]+)<', page).group(1)
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_all_golden_steps_are_in_the_page():
    model = load_step_model(KEPT_STEP_MODELS / "window-7-3-lanes-int8.tflite")
    golden = facts_of(web_page(model))["golden"]
    assert golden["lengths"] == list(model.golden.lengths)
    held = np.frombuffer(base64.b64decode(golden["outputs"]), "<f4").reshape(model.golden.steps, -1)
    np.testing.assert_array_equal(held, model.golden.y)
