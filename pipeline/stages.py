"""The stages of a recipe, in order. Heavy imports happen in a stage that has work to do."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.schemes.spec import SchemeSpec
from device_runner.backends import check_backend
from device_runner.measure import machine
from pipeline.errors import PipelineError
from pipeline.recipe import (
    Compression,
    ModelSection,
    Recipe,
)
from pipeline.workspace import STAGES, Stage, Workspace, digest

TRAINING_DISTRIBUTIONS = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "sktime",
    "seglearn",
    "Django",
    "bokeh_sampledata",
)
CONVERTING_DISTRIBUTIONS = ("tensorflow", "litert-quantizer", "ai-edge-litert")
RUNTIME_DISTRIBUTIONS = ("ai-edge-litert", "tflite-runtime", "tensorflow")
HISTORY_FILE = "history.json"
RANGES_FILE = "ranges.json"
RESULTS_FILE = "results.jsonl"
VERIFICATION_FILE = "verification.jsonl"
BASELINE_FILE = "baseline.json"
# What a compression says of its result, for the contract.
COMPRESSION_FACTS = ("sparsity_reached", "distinct_values", "energy_kept")
# In a history: indices of the task's channels that structured pruning has left.
CHANNELS_KEPT = "channels_kept"
# What a model section says of the network before it is compressed.
TRAINED_AS = ("cell", "units", "options", "embedding", "residual", "periods", "distil")

Tracker = Callable[[str, str], AbstractContextManager[Callable[[int, int, str], None]]]


@dataclass(frozen=True)
class Network:
    """One network of a recipe: a model section with a seed."""

    section: ModelSection
    seed: int

    @property
    def label(self) -> str:
        return f"{self.section.label}-s{self.seed}"

    def file_name(self, scheme: SchemeSpec) -> str:
        """Name of the step model in a scheme."""
        return f"{self.label}-{scheme.file_part}.tflite"


@dataclass(frozen=True)
class Outcome:
    """What a run left behind, for the report: finished stages by network, files, results."""

    recipe: Recipe
    folder: Path
    trained: dict[str, Stage]
    calibrated: dict[str, Stage]
    files: list[Path]
    baseline: dict[str, Any]
    results: list[dict[str, Any]]
    verification: list[dict[str, Any]]


def _with_tensorflow(build: Callable[[Path], None]) -> Callable[[Path], None]:
    """A stage's work, with TensorFlow loaded quietly before."""

    def load_and_build(folder: Path) -> None:
        from models.tensorflow_log import load_tensorflow

        load_tensorflow()
        build(folder)

    return load_and_build


def run_stages(recipe: Recipe, workspace: Workspace, until: str, track: Tracker) -> Outcome:
    """Do all stages of a recipe up to and including ``until``; finished ones are skipped.

    Args:
        track: gives, for (network, stage), a context whose value is called with (done, total,
            remark) while the stage works.
    """
    last = STAGES.index(until)
    networks = [Network(section, seed) for section in recipe.models for seed in recipe.seeds]
    check_names(recipe)
    trained: dict[str, Stage] = {}
    calibrated: dict[str, Stage] = {}
    files: list[Path] = []
    baseline = _baseline(recipe, workspace, track)
    for network in networks:
        distil = network.section.distil
        teachers = []
        if distil:
            seeds = recipe.seeds if distil.ensemble else [network.seed]
            teachers = [trained[f"{distil.teacher}-s{seed}"] for seed in seeds]
        stage = _train(recipe, network, teachers, workspace, track)
        for name in network.section.compressions:
            if last >= STAGES.index(name):
                stage = _compress(recipe, network, name, stage, workspace, track)
        trained[network.label] = stage
    if last >= STAGES.index("calibrate"):
        for network in networks:
            stage = trained[network.label]
            calibrated[network.label] = _calibrate(recipe, network, stage, workspace, track)
    fine_tuned: dict[str, dict[SchemeSpec, Stage]] = {label: {} for label in trained}
    if last >= STAGES.index("qat"):
        for network in networks:
            for scheme in (one for one in recipe.schemes if one.qat):
                stages = trained[network.label], calibrated[network.label]
                fine_tuned[network.label][scheme] = _qat(
                    recipe, network, scheme, *stages, workspace, track
                )
    if last >= STAGES.index("convert"):
        for network in networks:
            label = network.label
            sources = trained[label], calibrated[label], fine_tuned[label]
            files += _convert(recipe, network, *sources, workspace, track)
    verification: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    if last >= STAGES.index("verify"):
        verification = _verify(files, workspace, track)
    if last >= STAGES.index("bench"):
        results = _bench(recipe, files, workspace, track)
    return Outcome(
        recipe, workspace.folder, trained, calibrated, files, baseline, results, verification
    )


def check_names(recipe: Recipe) -> None:
    """Raise for an unknown task, target, backend or cell before any work is spent on the rest."""
    from convert.scheme_choice import candidates
    from models.cells import CELLS
    from models.errors import UnknownNameError
    from models.tasks import TASKS

    if recipe.task not in TASKS:
        raise UnknownNameError("task", recipe.task, TASKS)
    for target in recipe.targets:
        candidates(target)
    check_backend(recipe.bench.backend)
    for model in recipe.models:
        if model.cell not in CELLS:
            raise UnknownNameError("cell", model.cell, CELLS)


def _baseline(recipe: Recipe, workspace: Workspace, track: Tracker) -> dict[str, Any]:
    @_with_tensorflow
    def build(folder: Path) -> None:
        from dataclasses import asdict

        from models.baselines import task_baselines
        from models.tasks import load_task

        with track(recipe.task, "baseline"):
            task = load_task(recipe.task)
            facts = {
                "metric": task.score.facts(),
                "baselines": [asdict(baseline) for baseline in task_baselines(task)],
                "group_name": task.group_name,
                "sequences": [len(task.train), len(task.validation), len(task.test)],
                "outputs": _counted(len(task.labels), "value" if task.gives_values else "class"),
                "source": task.source,
                "frame_period_s": task.frame_period_s,
                "frame_period_source": task.frame_period_source,
            }
        write_json(folder / BASELINE_FILE, facts)

    stage = workspace.stage(
        "baseline", recipe.task, _data(recipe), ("models",), TRAINING_DISTRIBUTIONS, build
    )
    return json.loads((stage.folder / BASELINE_FILE).read_text())


def _data(recipe: Recipe) -> dict[str, Any]:
    """What a stage depends on where the task's data lies in a folder of the user's."""
    from models.tasks import data_facts

    facts = data_facts(recipe.task)
    return {"data": facts} if facts else {}


def _counted(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"


def _train(
    recipe: Recipe,
    network: Network,
    teachers: list[Stage],
    workspace: Workspace,
    track: Tracker,
) -> Stage:
    """Train a network, by its teachers where it has any. Networks that differ only in how they
    are compressed later share this stage."""
    section = network.section
    own = section.training.model_dump(exclude_none=True)
    settings = recipe.training.model_copy(update=own)
    subject = f"{section.base_label}-s{network.seed}"
    depends_on = {
        "task": recipe.task,
        "model": section.model_dump(include=set(TRAINED_AS)),
        "seed": network.seed,
        "training": settings.model_dump(),
        "teachers": [teacher.key for teacher in teachers],
        **_data(recipe),
    }

    @_with_tensorflow
    def build(folder: Path) -> None:
        import tf_keras as keras

        from models.compress.distillation import distil
        from models.gradient_health import gradient_health
        from models.layers import Normalization, ValueHead
        from models.network import Architecture, load_network, save_network
        from models.prediction import evaluate
        from models.tasks import load_task
        from models.training import fit
        from models.training_settings import DistillationSettings, TrainingSettings

        with track(subject, "train") as report:
            task = load_task(recipe.task)
            keras.utils.set_random_seed(network.seed)
            architecture = Architecture(
                cell=section.cell,
                units=section.unit_list,
                inputs=len(task.channels),
                outputs=len(task.labels),
                options=section.options,
                input_noise=settings.input_noise,
                input_offset=settings.input_offset,
                dropout=settings.dropout,
                embedding=section.embedding,
                residual=section.residual,
                periods=tuple(section.periods),
                vocabulary=task.vocabulary,
                gives_values=task.gives_values,
            )
            built = architecture.build()
            for layer in built.layers:
                if isinstance(layer, Normalization):
                    layer.adapt(*task.normalization)
                elif isinstance(layer, ValueHead):
                    layer.adapt(*task.value_spread)
            gradients = {"gradient_norms_at_start": gradient_health(built, task.validation)}
            fitting = settings.model_dump(
                exclude={"input_noise", "input_offset", "dropout", "augmentation"}
            )
            checkpoint = folder / "checkpoint.npz"
            training = TrainingSettings(
                seed=network.seed, augmentation=_augmentation(recipe), **fitting
            )
            progress = _epoch_progress(report, task)
            if section.distil:
                distillation = section.distil.model_dump(exclude={"teacher", "ensemble"})
                history = distil(
                    [load_network(teacher.folder)[0] for teacher in teachers],
                    built,
                    task,
                    training,
                    DistillationSettings(**distillation),
                    checkpoint,
                    progress,
                )
            else:
                history = fit(built, task, training, checkpoint, progress)
            gradients["gradient_norms_after_training"] = gradient_health(built, task.validation)
            save_network(folder, built, architecture)
            test_loss, test_score = evaluate(built, task.test, task.score)
            facts = {"test_loss": test_loss, "test_score": test_score}
            write_json(folder / HISTORY_FILE, {**history.facts(), **gradients, **facts})
            checkpoint.unlink(missing_ok=True)

    return workspace.stage("train", subject, depends_on, ("models",), TRAINING_DISTRIBUTIONS, build)


def _augmentation(recipe: Recipe) -> Any:
    from models.augmentation import Augmentation

    section = recipe.training.augmentation
    return Augmentation(section.stretch, section.gain, section.rotation, tuple(section.vectors))


def _epoch_progress(report: Callable[[int, int, str], None], task: Any) -> Any:
    def progress(epoch: int, epochs: int, entry: Any) -> None:
        report(
            epoch,
            epochs,
            f"loss {entry.loss:.3f}, validation {entry.validation_loss:.3f} "
            f"({task.score.text(entry.validation_score)})",
        )

    return progress


def _compress(
    recipe: Recipe,
    network: Network,
    name: str,
    before: Stage,
    workspace: Workspace,
    track: Tracker,
) -> Stage:
    """One compression of a trained network, fine-tuning included."""
    section, training = network.section.compressions[name], recipe.training
    depends_on = {
        "network": before.key,
        name: section.model_dump(),
        "batch_size": training.batch_size,
        "clip_norm": training.clip_norm,
        "augmentation": training.augmentation.model_dump(),
    }

    @_with_tensorflow
    def build(folder: Path) -> None:
        import tf_keras as keras

        from models.compress import compression
        from models.network import load_network, save_network
        from models.prediction import evaluate
        from models.training_settings import TrainingSettings

        with track(network.label, name) as report:
            task = _task_of(recipe, before)
            keras.utils.set_random_seed(network.seed)
            settings = TrainingSettings(
                epochs=section.epochs,
                batch_size=training.batch_size,
                learning_rate=section.learning_rate,
                clip_norm=training.clip_norm,
                seed=network.seed,
                augmentation=_augmentation(recipe),
            )
            checkpoint = folder / "checkpoint.npz"
            compressed = compression(name)(
                *load_network(before.folder),
                task,
                _compression_settings(name, section),
                settings,
                _epoch_progress(report, task),
                checkpoint,
            )
            save_network(folder, compressed.network, compressed.architecture)
            history = compressed.history_facts()
            task = _narrowed(task, history)
            test_loss, test_score = evaluate(compressed.network, task.test, task.score)
            facts = {"test_loss": test_loss, "test_score": test_score}
            carried = _from_history(before, *COMPRESSION_FACTS, CHANNELS_KEPT)
            write_json(folder / HISTORY_FILE, {**carried, **history, **facts})
            checkpoint.unlink(missing_ok=True)

    return workspace.stage(
        name, network.label, depends_on, ("models",), TRAINING_DISTRIBUTIONS, build
    )


def _from_history(stage: Stage, *names: str) -> dict[str, Any]:
    """Those of the entries that a network's history has."""
    history = json.loads((stage.folder / HISTORY_FILE).read_text())
    return {name: history[name] for name in names if name in history}


def _task_of(recipe: Recipe, trained: Stage) -> Any:
    """The recipe's task, with the channels alone that the network of a stage reads."""
    from models.tasks import load_task

    return _narrowed(load_task(recipe.task), _from_history(trained, CHANNELS_KEPT))


def _narrowed(task: Any, history: dict[str, Any]) -> Any:
    from models.compress.structured.cut import select_channels

    return select_channels(task, history[CHANNELS_KEPT]) if CHANNELS_KEPT in history else task


def _compression_settings(name: str, section: Compression) -> Any:
    """The settings of a compression, as its recipe section has them."""
    from models.compress import COMPRESSIONS

    return COMPRESSIONS[name].settings(**section.model_dump(exclude={"epochs", "learning_rate"}))


def _calibrate(
    recipe: Recipe, network: Network, trained: Stage, workspace: Workspace, track: Tracker
) -> Stage:
    settings = recipe.calibration

    @_with_tensorflow
    def build(folder: Path) -> None:
        from calibration.rollout import long_streams
        from convert.export import float_step
        from models.network import load_network

        with track(network.label, "calibrate") as report:
            built, _ = load_network(trained.folder)
            streams = long_streams(
                _task_of(recipe, trained).train.sequences,
                settings.steps,
                network.seed,
                settings.streams,
            )
            step = float_step(built, recipe.fold_embedding)
            ranges = step.calibrate(streams, lambda done, total: report(done, total, ""))
            ranges.save(folder / RANGES_FILE)

    return workspace.stage(
        "calibrate",
        network.label,
        {
            "network": trained.key,
            "calibration": settings.model_dump(),
            "fold_embedding": recipe.fold_embedding,
        },
        ("models", "calibration", "convert"),
        CONVERTING_DISTRIBUTIONS,
        build,
    )


def _qat(
    recipe: Recipe,
    network: Network,
    scheme: SchemeSpec,
    trained: Stage,
    calibrated: Stage,
    workspace: Workspace,
    track: Tracker,
) -> Stage:
    section, training = recipe.qat, recipe.training
    depends_on = {
        "network": trained.key,
        "calibrate": calibrated.key,
        "qat": section.model_dump(),
        "per_channel": scheme.per_channel,
        "range_method": scheme.range_method,
        "batch_size": training.batch_size,
        "clip_norm": training.clip_norm,
        "augmentation": training.augmentation.model_dump(),
    }

    @_with_tensorflow
    def build(folder: Path) -> None:
        import tf_keras as keras

        from calibration.ranges import Ranges
        from convert.export import float_step
        from convert.quantization_aware import save_step, train_quantization_aware
        from models.network import load_network
        from models.prediction import evaluate
        from models.training_settings import TrainingSettings

        with track(network.label, "qat") as report:
            task = _task_of(recipe, trained)
            keras.utils.set_random_seed(network.seed)
            built, architecture = load_network(trained.folder)
            checkpoint = folder / "checkpoint.npz"
            step, simulated, history = train_quantization_aware(
                built,
                architecture,
                float_step(built, recipe.fold_embedding),
                Ranges.load(calibrated.folder / RANGES_FILE),
                task,
                TrainingSettings(
                    batch_size=training.batch_size,
                    clip_norm=training.clip_norm,
                    seed=network.seed,
                    augmentation=_augmentation(recipe),
                    **section.model_dump(exclude={"imitation"}),
                ),
                checkpoint,
                _epoch_progress(report, task),
                section.imitation,
                scheme,
            )
            save_step(folder, step)
            test_loss, test_score = evaluate(simulated, task.test, task.score)
            facts = {"test_loss": test_loss, "test_score": test_score}
            write_json(folder / HISTORY_FILE, {**history.facts(), **facts})
            checkpoint.unlink(missing_ok=True)

    return workspace.stage(
        "qat",
        network.label,
        depends_on,
        ("models", "calibration", "convert"),
        CONVERTING_DISTRIBUTIONS,
        build,
    )


def _convert(
    recipe: Recipe,
    network: Network,
    trained: Stage,
    calibrated: Stage,
    fine_tuned: dict[SchemeSpec, Stage],
    workspace: Workspace,
    track: Tracker,
) -> list[Path]:
    """Export in every scheme; the files are linked at the top of the run's folder."""

    @_with_tensorflow
    def build(folder: Path) -> None:
        from calibration.ranges import Ranges
        from convert.export import export, float_step
        from convert.quantization_aware import float_network, load_step
        from models.network import load_network

        with track(network.label, "convert") as report:
            task = _task_of(recipe, trained)
            built, architecture = load_network(trained.folder)
            step = float_step(built, recipe.fold_embedding)
            ranges = Ranges.load(calibrated.folder / RANGES_FILE)
            history = json.loads((trained.folder / HISTORY_FILE).read_text())
            facts = {
                **_from_history(trained, *COMPRESSION_FACTS),
                "seconds_per_epoch": round(statistics.median(history["seconds"]), 3),
            }
            for number, scheme in enumerate(recipe.schemes):
                report(number, len(recipe.schemes), str(scheme))
                path = folder / network.file_name(scheme)
                source, graph = built, step
                if scheme.qat:
                    graph = load_step(fine_tuned[scheme].folder)
                    source = float_network(graph)
                export(
                    source,
                    architecture,
                    task,
                    scheme,
                    path,
                    graph,
                    ranges,
                    facts,
                    recipe_hash=digest(recipe.model_dump()),
                )

    stage = workspace.stage(
        "convert",
        network.label,
        {
            "network": trained.key,
            "calibrate": calibrated.key,
            "qat": [stage.key for stage in fine_tuned.values()],
            "schemes": [str(scheme) for scheme in recipe.schemes],
            "recipe": digest(recipe.model_dump()),
        },
        ("models", "calibration", "convert", "device_runner"),
        (*CONVERTING_DISTRIBUTIONS, "edgestep"),
        build,
    )
    files = []
    for scheme in recipe.schemes:
        name = network.file_name(scheme)
        _place(stage.folder / name, workspace.folder / name)
        files.append(workspace.folder / name)
    return files


def _verify(files: list[Path], workspace: Workspace, track: Tracker) -> list[dict[str, Any]]:
    def build(folder: Path) -> None:
        from convert.verify import verify_on_runtimes

        with track("all models", "verify"):
            found = verify_on_runtimes(files)
        write_json_lines(folder / VERIFICATION_FILE, found)

    stage = workspace.stage(
        "verify",
        "all-models",
        {"files": _digests(files)},
        ("device_runner", "convert"),
        RUNTIME_DISTRIBUTIONS,
        build,
    )
    _place(stage.folder / VERIFICATION_FILE, workspace.folder / VERIFICATION_FILE)
    return list(read_json_lines(stage.folder / VERIFICATION_FILE))


def _bench(
    recipe: Recipe, files: list[Path], workspace: Workspace, track: Tracker
) -> list[dict[str, Any]]:
    settings = recipe.bench

    def build(folder: Path) -> None:
        # A process of its own: what a user on the device runs, without TensorFlow's threads.
        command = [sys.executable, "-m", "device_runner", "bench", "--json"]
        command += ["--backend", settings.backend, "--threads", str(settings.threads)]
        command += ["--steps", str(settings.steps), "--rounds", str(settings.rounds)]
        command += ["--warmup", str(settings.warmup_s), *map(str, files)]
        with track("all models", "bench"):
            process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            message = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise PipelineError(f"the benchmark failed: {message[-1]}")
        (folder / RESULTS_FILE).write_text(process.stdout)

    stage = workspace.stage(
        "bench",
        "all-models",
        {
            "files": _digests(files),
            "bench": settings.model_dump(),
            "machine": machine.describe_machine(),
        },
        ("device_runner",),
        RUNTIME_DISTRIBUTIONS,
        build,
    )
    _place(stage.folder / RESULTS_FILE, workspace.folder / RESULTS_FILE)
    return list(read_json_lines(stage.folder / RESULTS_FILE))


def _digests(files: list[Path]) -> dict[str, str]:
    import hashlib

    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _place(source: Path, target: Path) -> None:
    """Copy a stage's product to where users look for it, unless the same bytes are there."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(source, partial)
    os.replace(partial, target)


def write_json(path: Path, facts: Any) -> None:
    path.write_text(json.dumps(facts, indent=1))


def write_json_lines(path: Path, items: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text().splitlines() if line)
