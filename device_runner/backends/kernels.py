"""Name the integer kernels of a runtime, so that runs with the same ones can be held to the bit.

There are kernels for each kind of CPU, and nobody promises that they round alike, so runs are of
the same kind only on CPUs with the same instructions. The small runtime's built-in kernels, say,
give the same bits on Arm and on x86 but in products of batches
(``python -m benchmarks.runtime_agreement``).
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

#: Those of libedgestep and of TensorFlow Lite Micro, which give the same bits on every CPU.
LIBEDGESTEP, PORTABLE = "libedgestep", "portable"
# The versions whose built-in kernels give the same bits as those of the LiteRT that exports.
_SAME_BUILT_IN = ("2.14.",)
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


def built_in_of_tflite_runtime(version: str) -> str | None:
    """Name the kernels of a version of tflite-runtime; None if they are not known."""
    return built_in() if version.startswith(_SAME_BUILT_IN) else None


def built_in() -> str | None:
    """Name the built-in kernels on this CPU; None if the CPU tells nothing."""
    cpu = _cpu()
    return None if cpu is None else f"built-in on {cpu}"


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
