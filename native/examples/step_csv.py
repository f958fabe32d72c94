# SPDX-License-Identifier: Apache-2.0
"""Step a model through lines of comma-separated values: sensor | python step_csv.py MODEL.tflite

It needs neither edgestep nor NumPy, but the library, which LIBEDGESTEP names:

    cc -O3 -ffp-contract=off -shared -fPIC -o libedgestep.so native/src/*.c
"""

import ctypes
import os
import sys

BAD_INPUT, NO_ANSWER, MESSAGE_BYTES, ALIGNMENT = 4, 5, 256, 64

library = ctypes.CDLL(os.environ.get("LIBEDGESTEP", "./libedgestep.so"))
for name in ("es_stream_bytes", "es_input_values", "es_output_values"):
    getattr(library, name).restype = ctypes.c_size_t
    getattr(library, name).argtypes = [ctypes.c_void_p]
library.es_load.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p]
library.es_open.restype = ctypes.c_void_p
library.es_open.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
library.es_step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]


def load(path: str) -> ctypes.c_void_p:
    """Load a model, or end with a line that says why not."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    model, why = ctypes.c_void_p(), ctypes.create_string_buffer(MESSAGE_BYTES)
    if library.es_load(data, len(data), ctypes.byref(model), why):
        sys.exit(f"{path}: {why.value.decode()}")
    return model


def main(path: str) -> None:
    """Print a line of outputs for each line of inputs."""
    model = load(path)
    # The block is ours, and must begin at a multiple of 64.
    block = ctypes.create_string_buffer(library.es_stream_bytes(model) + ALIGNMENT)
    start = ctypes.addressof(block)
    stream = library.es_open(model, start + -start % ALIGNMENT)
    x = (ctypes.c_float * library.es_input_values(model))()
    y = (ctypes.c_float * library.es_output_values(model))()
    for line in sys.stdin:
        x[:] = [float(value) for value in line.split(",")]
        status = library.es_step(stream, x, y)
        if status == BAD_INPUT:
            sys.exit("a value is not finite")
        if status != NO_ANSWER:
            print(",".join(f"{value:.6g}" for value in y), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
