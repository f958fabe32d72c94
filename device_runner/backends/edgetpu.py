"""The backend for the Edge TPU of Coral devices, through libedgetpu as a delegate.

The model must be compiled for it: ``edgetpu_compiler`` merges the operators that the Edge TPU takes
into one custom operator and leaves the rest for the CPU.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from device_runner.backends import litert, tflite_runtime
from device_runner.backends.backend import LoadOptions, Placement
from device_runner.backends.external_delegate import (
    DelegateRuntime,
    ExternalDelegateBackend,
    check_library,
    find_runtime,
    start_delegate,
)
from device_runner.errors import BadModelError, MissingRuntimeError, OptionError, one_line
from device_runner.model.step_file import StepModel

NAME = "edgetpu"
LIBRARY = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}.get(
    sys.platform, "libedgetpu.so.1"
)
COMPILED_OPERATOR = "CUSTOM:edgetpu-custom-op"
# A USB Accelerator has the first id until libedgetpu has sent it its firmware.
USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
SYSTEM = Path("/")


@dataclass(frozen=True)
class EdgeTpuDevice:
    """An Edge TPU on this machine.

    Args:
        kind: "usb" or "pci".
        node: the file through which it is used.
        accessible: whether this user may use it.
    """

    kind: str
    node: Path
    accessible: bool


def load(model: StepModel, options: LoadOptions) -> EdgeTpuBackend:
    """Load a step model that was compiled for the Edge TPU.

    ``options.device`` chooses one: "usb", "pci", ":0" (the first of all), "usb:1", ...

    Raises:
        OptionError: the device's name is not one of these.
        BadModelError: the model was not compiled for the Edge TPU, or is refused.
        MissingRuntimeError: a runtime, libedgetpu, a device, or the right to use it is missing.
    """
    model.require_one_row(NAME)
    kind = _kind(options.device)
    if all(operator.name != COMPILED_OPERATOR for operator in model.graph.operators):
        raise BadModelError(
            f"{model.path}: not compiled for the Edge TPU; run "
            f"'edgetpu_compiler -s {model.path.name}' on a fully int8 model, see docs/coral.md"
        )
    runtime = _runtime()
    check_devices(find_devices(), kind)
    wanted = {} if options.device is None else {"device": options.device}
    try:
        delegate = start_delegate(runtime, LIBRARY, {**wanted, **options.delegate_options})
    except ValueError as error:
        raise MissingRuntimeError(
            f"the Edge TPU does not start ({one_line(error)}); close other programs that use it, "
            "plug it in again, and check '--device'"
        ) from error
    return EdgeTpuBackend(NAME, "Edge TPU", runtime, delegate, model, options.threads)


def probe() -> str:
    """Return the runtime's version and the devices found."""
    runtime = _runtime()
    devices = find_devices()
    check_devices(devices, None)
    found = ", ".join(f"{device.kind} {device.node}" for device in devices)
    return f"{runtime.name} {runtime.version} on {found or 'a device that is not listed here'}"


class EdgeTpuBackend(ExternalDelegateBackend):
    """A compiled step model on an Edge TPU."""

    def placement(self) -> Placement:
        """Return the compiled parts, and what the compiler left to the CPU.

        The compiler's own report ('edgetpu_compiler -s') says which operators are in a compiled
        part.
        """
        names = [operator.name for operator in self._graph.operators]
        return Placement(
            "Edge TPU",
            tuple(name for name in names if name == COMPILED_OPERATOR),
            tuple(name for name in names if name != COMPILED_OPERATOR),
        )


def find_devices(system: Path = SYSTEM) -> list[EdgeTpuDevice]:
    """List the Edge TPUs that Linux knows of, below the root folder ``system``; USB first."""
    found = []
    for folder in sorted(system.glob("sys/bus/usb/devices/*")):
        if (_text(folder / "idVendor"), _text(folder / "idProduct")) in USB_IDS:
            bus, device = (int(_text(folder / name) or 0) for name in ("busnum", "devnum"))
            found.append(_device("usb", system / f"dev/bus/usb/{bus:03d}/{device:03d}"))
    found.extend(_device("pci", node) for node in sorted(system.glob("dev/apex_*")))
    return found


def check_devices(devices: list[EdgeTpuDevice], kind: str | None) -> None:
    """Raise MissingRuntimeError unless one of the devices of this kind can be used.

    Only Linux lists devices; elsewhere libedgetpu finds out.
    """
    if not sys.platform.startswith("linux"):
        return
    of_kind = [device for device in devices if kind in (None, device.kind)]
    if not of_kind:
        others = f" (there is: {', '.join(device.kind for device in devices)})" if devices else ""
        raise MissingRuntimeError(
            f"no Edge TPU{f' on {kind}' if kind else ''} found{others}; plug it in and look for "
            "1a6e:089a or 18d1:9302 in 'lsusb', or for /dev/apex_0, see docs/coral.md"
        )
    if not any(device.accessible for device in of_kind):
        group = "plugdev" if of_kind[0].kind == "usb" else "apex"
        raise MissingRuntimeError(
            f"this user may not open the Edge TPU at {of_kind[0].node}; install libedgetpu's udev "
            f"rule, join the group '{group}', log in again and plug the device in again"
        )


def _runtime() -> DelegateRuntime:
    # libedgetpu is built against one TFLite; tflite-runtime is the nearest to it.
    runtime = find_runtime(tflite_runtime, litert)
    check_library(LIBRARY, "install the Edge TPU runtime (libedgetpu1-std), see docs/coral.md")
    return runtime


def _kind(device: str | None) -> str | None:
    if device is None:
        return None
    match = re.fullmatch(r"(usb|pci)?(:\d+)?", device)
    if not device or match is None:
        raise OptionError(
            f"'{device}' is not an Edge TPU device; name it as usb, pci, :0, usb:0 or pci:0"
        )
    return match.group(1)


def _device(kind: str, node: Path) -> EdgeTpuDevice:
    return EdgeTpuDevice(kind, node, os.access(node, os.R_OK | os.W_OK))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
