"""Read files of PyTorch weights without running what a pickle could hold."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import SourceModelError
from convert.importers.pytorch.checkpoint import ENTRIES
from device_runner.errors import one_line

# No network for a small device is larger; the limit keeps a wrong path from filling memory.
FILE_LIMIT_BYTES = 2 * 1024**3

# The list of tensors that a .safetensors file begins with; a network of millions of weights has a
# few hundred of them.
HEADER_LIMIT_BYTES = 8 * 1024**2

# Weights by their names.
Arrays = dict[str, NDArray[Any]]


def read_state(path: Path) -> Arrays:
    """Read the entries of a state_dict as float32.

    Raises:
        SourceModelError: the file is missing, too large, damaged or of another kind, or holds
            anything but finite floating-point numbers.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceModelError(f"{path}: cannot be read ({error.strerror}); check it") from None
    if size > FILE_LIMIT_BYTES:
        raise SourceModelError(f"{path} has {size:,} bytes; is it the weights of a small network?")
    if path.suffix == ".safetensors":
        raw = _read_safetensors(path)
    elif path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        raw = _read_with_torch(path)
    else:
        raise SourceModelError(
            f"{path}: PyTorch weights end in .safetensors, .pt, .pth or .ckpt; rename it, or save "
            "it again"
        )
    state = {}
    for name, array in raw.items():
        # NumPy does not count bfloat16 as floating-point.
        if name.rpartition(".")[2] == "num_batches_tracked":
            continue
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise SourceModelError(
                f"{path}: '{name}' is {array.dtype}, not floating-point; save the float network"
            )
        state[name] = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(state[name]).all():
            raise SourceModelError(f"{path}: '{name}' holds NaN or infinity; train it again")
    return state


def _read_safetensors(path: Path) -> Arrays:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise SourceModelError(
            f"{path}: reading it needs safetensors ({error}); "
            "install it with 'pip install edgestep[pytorch]'"
        ) from error
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > path.stat().st_size:
        raise SourceModelError(f"{path}: not a safetensors file, or damaged; save it again")
    if header > HEADER_LIMIT_BYTES:
        raise SourceModelError(
            f"{path}: its list of tensors has {header:,} bytes; it is damaged, or no network for a "
            "small device"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceModelError(
            f"{path}: not a safetensors file, or damaged ({one_line(error)}); save it again"
        ) from error


def _read_with_torch(path: Path) -> Arrays:
    try:
        import torch
    except ImportError as error:
        raise SourceModelError(
            f"{path}: reading it needs PyTorch ({error}); install it, or save the state_dict "
            "with safetensors.torch.save_file"
        ) from error
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is refused in one line below
            # weights_only: anything else that a pickle can hold is refused, not run.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on errors of many types
        # torch's own message says how to load it all the same, which would run its code.
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "a whole model, other objects, or damaged" if unsafe else one_line(error)
        raise SourceModelError(
            f"{path}: not a state_dict that loads with weights_only=True ({reason}); "
            "save it with torch.save(model.state_dict(), …) or with safetensors"
        ) from error
    for _ in range(3):
        inner = next((n for n in ENTRIES if isinstance(loaded, dict) and n in loaded
                      and isinstance(loaded[n], dict)), None)  # fmt: skip
        if inner is None:
            break
        loaded = loaded[inner]
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in loaded.items()
    ):
        raise SourceModelError(f"{path} does not hold a state_dict; save model.state_dict() alone")
    for name, tensor in loaded.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized and tensor.is_cpu
        # With strides of 0 a tensor may have many times more values than its storage.
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise SourceModelError(
                f"{path}: '{name}' is sparse, quantized or larger than its stored data; "
                "save dense floating-point weights"
            )
    return {
        name: tensor.detach().to(torch.float32).numpy()
        if tensor.is_floating_point()
        else tensor.detach().numpy()
        for name, tensor in loaded.items()
    }


def holds_code(path: Path) -> bool:
    """Tell whether a file is TorchScript, a network with its code."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except Exception:  # zipfile raises many types
        return False


def _check_archive(path: Path) -> None:
    """Refuse an archive that could unpack to more than its size; torch.save does not compress.

    Files of PyTorch before 1.6 are not archives.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises many types
        raise SourceModelError(f"{path}: the archive is damaged ({one_line(error)})") from error
    compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if compressed or sum(member.file_size for member in members) > path.stat().st_size:
        raise SourceModelError(
            f"{path}: its archive is compressed, as torch.save never does; save the weights again"
        )
