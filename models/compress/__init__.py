"""Compression of trained networks, float network in, float network out: one file each, listed here.

The list holds names of modules, and the settings are plain values, so that reading both does not
import TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from models.errors import ModelsError, UnknownNameError
from models.setting import check_settings, setting

if TYPE_CHECKING:
    import tf_keras as keras

    from models.compress.compressed import Compressed
    from models.network import Architecture

#: By a pattern of zeros: how many inputs and outputs of a matrix belong together.
PATTERNS = {"single": (1, 1), "2:4": (4, 1), "16x1": (16, 1), "1x16": (1, 16)}


@dataclass(frozen=True)
class TuningSettings:
    """The fine-tuning that comes with every compression.

    Args:
        epochs: of each fine-tuning.
        learning_rate: as :class:`models.training_settings.TrainingSettings` says.

    Raises:
        ModelsError: a value is outside its range.
    """

    epochs: int = setting(30, ge=2)
    learning_rate: float = setting(1e-3, gt=0)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class LongerSettings:
    """How often a network is trained on.

    Args:
        times: fine-tunings, one after the other; each begins at the full learning rate.

    Raises:
        ModelsError: a value is outside its range.
    """

    times: int = setting(1, ge=1)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def label(self) -> str:
        """What marks the files of networks trained so."""
        return "longer" if self.times == 1 else f"longer-by{self.times}"


@dataclass(frozen=True)
class FactorizeSettings:
    """How recurrent matrices become products of two.

    Args:
        rank: of every recurrent matrix.

    Raises:
        ModelsError: a value is outside its range.
    """

    rank: int = setting(ge=1)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def label(self) -> str:
        """What marks the files of networks compressed so."""
        return f"rank{self.rank}"


@dataclass(frozen=True)
class PruneSettings:
    """What is taken out: either single weights (``sparsity``, ``pattern``), or whole hidden units
    and input channels (``keep``, ``keep_inputs``, ``rounds``).

    Args:
        sparsity: share of each matrix' weights that become zero; 0.5 for the pattern "2:4".
        pattern: how the zeros lie, a name in PATTERNS.
        keep: units that each recurrence keeps (int), or their share (float, up to 1.0).
        keep_inputs: input channels to keep, in the same way.
        rounds: in how many rounds units and channels are taken out, with a fine-tuning after each.
        importance: how units and channels are ranked, a name in
            :data:`models.compress.structured.importance.IMPORTANCES`.

    Raises:
        ModelsError: a value is outside its range, or the values do not go together.
    """

    sparsity: float | None = setting(None, gt=0, lt=1)
    pattern: Literal["single", "2:4", "16x1", "1x16"] = "single"
    keep: int | float | None = setting(None, gt=0)
    keep_inputs: int | float | None = setting(None, gt=0)
    rounds: int = setting(3, ge=1)
    importance: Literal["taylor", "norm"] = "taylor"

    def __post_init__(self) -> None:
        check_settings(self)
        for name, keep in (("keep", self.keep), ("keep_inputs", self.keep_inputs)):
            if isinstance(keep, float) and keep > 1:
                raise ModelsError(f"{name} must be a share up to 1.0, or an integer, not {keep}")
        if self.pattern not in PATTERNS:
            raise UnknownNameError("pattern", self.pattern, PATTERNS)
        if (self.sparsity is None) != self.structured:
            raise ModelsError(
                "give either sparsity (single weights), or keep (whole units), keep_inputs (input "
                "channels) or both of these"
            )
        if self.structured and self.pattern != "single":
            raise ModelsError("a pattern is one of zeros: give it with sparsity, not with keep")
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ModelsError(
                f"2:4 has a sparsity of 0.5, not {self.sparsity}; set it, or the pattern"
            )

    @property
    def structured(self) -> bool:
        """Whether whole units or channels are taken out."""
        return self.keep is not None or self.keep_inputs is not None

    @property
    def label(self) -> str:
        """What marks the files of networks compressed so."""
        kept = {"kept": self.keep, "inputs": self.keep_inputs}
        if self.structured:
            return "-".join(f"{what}{_percent(keep)}" for what, keep in kept.items() if keep)
        pattern = "" if self.pattern == "single" else "-" + self.pattern.replace(":", "of")
        return f"pruned{round(100 * (self.sparsity or 0))}{pattern}"


def _percent(keep: int | float) -> int:
    """A share in percent, a number as it is."""
    return keep if isinstance(keep, int) else round(100 * keep)


@dataclass(frozen=True)
class ClusterSettings:
    """How many values the weights of a matrix share.

    Args:
        clusters: different values in each matrix; zero is one of them in a pruned network.

    Raises:
        ModelsError: a value is outside its range.
    """

    clusters: int = setting(ge=3)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def label(self) -> str:
        """What marks the files of networks compressed so."""
        return f"clustered{self.clusters}"


class CompressionEntry(NamedTuple):
    """A compression in the list.

    Attributes:
        implementation: "module.function" within this package. The function takes (network,
            architecture, task, settings, training, progress, checkpoint), see :func:`compress`.
        settings: class of its settings; each has a ``label``.
        source: where it comes from, in a few words.
        purpose: what it is for, in a few words.
        rehearsal: "module.function" that takes (network, architecture, settings) and does to a
            network what needs no training, so that what cannot work is found before; "" where
            there is nothing to find.
        facts: names of what it tells of its result for a model's contract
            (``Compressed.facts``).
    """

    implementation: str
    settings: type[Any]
    source: str
    purpose: str
    rehearsal: str = ""
    facts: tuple[str, ...] = ()


#: By the name that recipes and stages have for it, in the order in which they are done.
COMPRESSIONS: dict[str, CompressionEntry] = {
    "longer": CompressionEntry(
        "longer.train_longer",
        LongerSettings,
        "Z. Liu et al. 2019",
        "trained on without any compression, as what one has to be held against",
    ),
    "factorize": CompressionEntry(
        "low_rank.factorize",
        FactorizeSettings,
        "Prabhavalkar et al. 2016",
        "recurrent matrices as products of two thin ones",
        "low_rank.rehearse",
        ("energy_kept",),
    ),
    "prune": CompressionEntry(
        "pruning.prune",
        PruneSettings,
        "Zhu and Gupta 2017; Molchanov et al. 2017",
        "single weights become zero, or whole units and input channels go",
        "pruning.rehearse",
        ("sparsity_reached",),
    ),
    "cluster": CompressionEntry(
        "clustering.cluster_weights",
        ClusterSettings,
        "Han et al. 2016",
        "the weights of a matrix share a few values",
        "",
        ("distinct_values",),
    ),
}


def compression(name: str) -> Callable[..., Compressed]:
    """Look a compression up by its name in COMPRESSIONS.

    Returns:
        A function (network, architecture, task, settings, training, progress=None,
        checkpoint=None) -> :class:`~models.compress.compressed.Compressed`. The network stays as
        it is; ``settings`` is of the entry's class; ``training`` are the
        :class:`~models.training_settings.TrainingSettings` of the fine-tuning; the last two are as
        for :func:`models.training.fit`.

    Raises:
        UnknownNameError: there is no such compression.
    """
    found: Callable[..., Compressed] = _function(_entry(name).implementation)
    return found


def rehearse(
    name: str, network: keras.Model, architecture: Architecture, settings: Any
) -> tuple[keras.Model, Architecture]:
    """Do to an untrained network what a compression does without training.

    Raises:
        UnknownNameError: there is no such compression.
        ModelsError: a network of this architecture cannot be compressed so.
    """
    place = _entry(name).rehearsal
    if not place:
        return network, architecture
    smaller: tuple[keras.Model, Architecture] = _function(place)(network, architecture, settings)
    return smaller


def _entry(name: str) -> CompressionEntry:
    if name not in COMPRESSIONS:
        raise UnknownNameError("compression", name, COMPRESSIONS)
    return COMPRESSIONS[name]


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(".")
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"models.compress.{module}"), name
    )
    return function
