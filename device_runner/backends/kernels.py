"""Name the integer kernels of a runtime, so that runs with the same ones can be held to the bit.

There are kernels for each kind of CPU, and nobody promises that they round alike, so runs are of
the same kind only on CPUs with the same instructions.

tflite-runtime has no such name, though it nearly always gives the bits of LiteRT's built-in
kernels, those without XNNPACK. Its wheel for x86 lacks the vector form of ADD: the scalar one
rounds each operand once more, and where the exact sum is within a few millionths of a half, the
result may be the next number. Versions 2.14 and 2.3 also differ by one in BATCH_MATMUL, on x86 in
DEPTHWISE_CONV_2D, in MEAN over two axes and in some QUANTIZE, and on Arm in SOFTMAX.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

#: Those of libedgestep and of TensorFlow Lite Micro, which give the same bits on every CPU.
LIBEDGESTEP, PORTABLE = "libedgestep", "portable"
#: LiteRT's without XNNPACK. It is recorded, to tell when another runtime does give the same bits.
BUILT_IN = "built-in"
# Versions of TensorFlow with the XNNPACK of a version of LiteRT.
_TENSORFLOW_AS_LITERT = {"2.21": "2.3"}
_CPU_FACTS = Path("/proc/cpuinfo")
# What XNNPACK chooses its integer kernels by.
_FEATURES = frozenset(
    (
        *("ssse3", "sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8", "avx10"),
        *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_vbmi", "amx_int8", "amx_tile"),
        *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "sve2", "sme"),
    )
)


def xnnpack_of_litert(version: str) -> str | None:
    """Name XNNPACK's kernels in a version of LiteRT on this CPU; None if the CPU tells nothing."""
    cpu = _cpu()
    return None if cpu is None else f"xnnpack of litert {_minor(version)} on {cpu}"


def xnnpack_of_tensorflow(version: str) -> str | None:
    """Name XNNPACK's kernels in a version of TensorFlow; None if they are not known."""
    same = _TENSORFLOW_AS_LITERT.get(_minor(version))
    return None if same is None else xnnpack_of_litert(same)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@functools.cache
def _cpu() -> str | None:
    try:
        text = _CPU_FACTS.read_text(errors="replace")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    told = next((value for name, _, value in lines if name.strip() in ("flags", "Features")), "")
    features = sorted(_FEATURES.intersection(told.split()))
    return f"{platform.machine()} {' '.join(features)}" if features else None
