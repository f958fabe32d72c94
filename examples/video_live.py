"""Video to action: a decision for each picture of a camera or a video file.

    python examples/video_live.py MODEL [SOURCE]

SOURCE is a camera's number (0, the default) or a video file; MODEL is a step model whose frames are
pictures [height, width, 3] of 0 to 1 in red, green, blue. Needs "pip install edgestep[video]".
Tried on files only, not on a real camera.
"""

import sys

import cv2
import numpy as np

from device_runner.stream import Stream


def main(model: str, source: str = "0") -> None:
    stream = Stream(model)
    _, height, width, _ = stream.model.contract.input.shape
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        sys.exit(f"{source} cannot be opened; give a camera's number or a video file")
    number = 0
    while True:
        there, picture = capture.read()
        if not there:
            break
        smaller = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        y = np.asarray(stream.step(np.float32(smaller[..., ::-1]) / 255))
        print(number, stream.model.labels[y.argmax()], f"{y.max():.2f}", flush=True)
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
