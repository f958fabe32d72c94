"""Low-rank factorization: every recurrent matrix becomes the product of two thin ones.

U [H, G H] (G the gates of the cell) is replaced by its truncated singular value decomposition, of
all matrices of that rank the nearest one in the Frobenius norm (Eckart and Young 1936), and the
network is fine-tuned in this form. The two factors hold r (1 + G) H parameters instead of G H^2,
and a step has as many multiplications (a GRU with the reset before the product r H more, as two
vectors pass the first factor). Both factors are dense, so every stock runtime computes less, but in
one operator more.

Only the recurrent matrix is factorized. The inputs' matrix is small where a sensor has few
channels, and an ORU's orthogonal matrix has full rank by what it is.

Sources: R. Prabhavalkar et al., "On the compression of recurrent neural networks with an
application to LVCSR acoustic modeling for embedded speech recognition" (ICASSP 2016), here without
a projection that is shared with the layer above; A. Kusupati et al., "FastGRNN: a fast, accurate,
stable and tiny kilobyte sized gated recurrent neural network" (NeurIPS 2018), for a recurrent
matrix that is learned in two factors.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from models.cells.cell import RecurrentCell
from models.compress import FactorizeSettings
from models.compress.compressed import Compressed
from models.errors import ModelsError
from models.layers import Recurrence
from models.network import Architecture, check_fit, recurrences
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings


def factorize(
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: FactorizeSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Bring the recurrent matrices of all recurrences to a rank and fine-tune.

    Args:
        network: trained; left as it is. If it is of low rank already, it is brought to a lower
            one.
        settings: the rank of every recurrent matrix.
        training: of the fine-tuning.
        progress, checkpoint: as for :func:`models.training.fit`.

    Returns:
        The factorized network, whose architecture has the cell's option ``rank``; its facts have
        ``energy_kept``, see :func:`truncate`.

    Raises:
        ModelsError: the rank is so high that a recurrence would not have fewer parameters, a
            recurrent matrix is not finite, or network and architecture do not fit.
        DivergedError: the fine-tuning lost its numbers; lower its learning rate.
    """
    check_rank(network, settings.rank)
    factorized, smaller, energy_kept = truncate(network, architecture, settings.rank)
    history = fit(factorized, task, training, checkpoint, progress)
    return Compressed(factorized, smaller, history, {"energy_kept": energy_kept})


def rehearse(
    network: keras.Model, architecture: Architecture, settings: FactorizeSettings
) -> tuple[keras.Model, Architecture]:
    """Do to a network what needs no training; ModelsError where it cannot be factorized so."""
    check_rank(network, settings.rank)
    factorized, smaller, _ = truncate(network, architecture, settings.rank)
    return factorized, smaller


def check_rank(network: keras.Model, rank: int) -> None:
    """Raise ModelsError where ``rank`` does not make every recurrence of the network smaller."""
    for layer in recurrences(network):
        if not layer.cell.recurrent_factors():
            raise ModelsError(
                f"{layer.name} ({type(layer.cell).__name__}) has no recurrent matrix to factorize; "
                "leave [models.factorize] out"
            )
        limit = _rank_without_savings(layer.cell)
        if rank >= limit:
            raise ModelsError(
                f"rank {rank} saves no parameters in {layer.name} "
                f"({layer.cell.units} units, {layer.cell.gates} gates); "
                f"give a rank below {limit}"
            )


def truncate(
    network: keras.Sequential, architecture: Architecture, rank: int
) -> tuple[keras.Sequential, Architecture, dict[str, float]]:
    """Give the network with recurrent matrices of ``rank`` and all other weights as they are.

    At rank H it computes what the given network does, with more parameters.

    Args:
        network: left as it is.
        rank: from 1 to the units of the smallest recurrence.

    Returns:
        The network, not fine-tuned, its architecture, and by layer name the energy that is kept:
        the share of the recurrent matrix' squared Frobenius norm, in [0, 1].

    Raises:
        ModelsError: ``rank`` is out of range, a recurrent matrix is not finite, or network and
            architecture do not fit.
    """
    check_fit(network, architecture)
    factorized_architecture = replace(architecture, options={**architecture.options, "rank": rank})
    factorized = factorized_architecture.build()
    energy_kept = {}
    for source, target in zip(network.layers, factorized.layers, strict=True):
        if isinstance(source, Recurrence):
            energy_kept[source.name] = _truncate_cell(source, target, rank)
        else:
            target.set_weights(source.get_weights())
    return factorized, factorized_architecture, energy_kept


def truncated_svd(matrix: NDArray[Any], rank: int) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Find the nearest matrix of a rank in the Frobenius norm, as two factors.

    Each factor takes the square root of the singular values: of all ways to share them out this
    gives the factors the smallest norms, and gradients and int8 ranges of like size.

    Args:
        matrix: [rows, columns].
        rank: from 1 to the smaller of rows and columns.

    Returns:
        float64 [rows, rank] and [rank, columns], and the share of the matrix' squared Frobenius
        norm that their product has (1 for a matrix of zeros, which loses nothing).
    """
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    root = np.sqrt(values[:rank])
    energies = values**2
    kept = float(energies[:rank].sum() / energies.sum()) if energies.any() else 1.0
    return left[:, :rank] * root, root[:, np.newaxis] * right[:rank], kept


def _truncate_cell(source: Recurrence, target: Recurrence, rank: int) -> float:
    """Fill ``target``, of that rank, from ``source``; the energy that is kept."""
    old, new = source.cell, target.cell
    matrix = np.linalg.multi_dot([np.eye(old.units), *(w.numpy() for w in old.recurrent_factors())])
    if not np.isfinite(matrix).all():
        raise ModelsError(f"{source.name} has NaN or infinite recurrent weights; train it again")
    for old_weight, new_weight in zip(_other_weights(old), _other_weights(new), strict=True):
        new_weight.assign(old_weight)
    *factors, kept = truncated_svd(matrix, rank)
    for weight, factor in zip(new.recurrent_factors(), factors, strict=True):
        weight.assign(factor)
    return kept


def _other_weights(cell: RecurrentCell) -> list[Any]:
    """All weights but the recurrent matrix, in an order that does not depend on its rank."""
    factors = {id(weight) for weight in cell.recurrent_factors()}
    return [weight for weight in cell.weights if id(weight) not in factors]


def _rank_without_savings(cell: RecurrentCell) -> int:
    """The lowest rank whose factors hold no fewer parameters than the recurrent weights now."""
    present = sum(int(np.prod(weight.shape)) for weight in cell.recurrent_factors())
    per_rank = (1 + cell.gates) * cell.units
    return -(-present // per_rank)
