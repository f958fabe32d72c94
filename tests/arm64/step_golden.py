"""Steps models through their golden inputs with the on-device program, under any Python.

    step_golden.py BUNDLE BACKEND FOLDER STATES MODEL...

Writes for each model to FOLDER: NAME.outputs, the outputs as stored; NAME.state, the state saved
in the middle; NAME.fresh, the second half's outputs of a stream that was reset in the middle.
With STATES, a folder of such states of the same models, it goes on from the middle instead and
the outputs are those of the second half; "-" stands for no states.
"""

import sys
from pathlib import Path

bundle, backend, folder, states, *models = sys.argv[1:]
sys.path.insert(0, bundle)

from device_runner.stream import Stream  # noqa: E402

for model in models:
    stream = Stream(model, backend)
    target = Path(folder) / Path(model).stem
    frames = [
        frame.tobytes() for frame in stream.model.contract.input.quantize(stream.model.golden.x)
    ]
    first, second = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    outputs = b""
    if states == "-":
        target.with_suffix(".fresh").write_bytes(b"".join(map(stream.step_bytes, second)))
        stream.reset()
        outputs = b"".join(map(stream.step_bytes, first))
        target.with_suffix(".state").write_bytes(stream.save_state())
    else:
        saved = (Path(states) / target.name).with_suffix(".state")
        stream.load_state(saved.read_bytes())
    outputs += b"".join(map(stream.step_bytes, second))
    target.with_suffix(".outputs").write_bytes(outputs)
