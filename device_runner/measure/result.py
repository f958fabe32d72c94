"""The form of a benchmark's result: one JSON object per model, as ``result.schema.json`` says.

A test keeps these types and the published schema equal. They are dictionaries and not classes,
because a result is read back from JSON as often as it is made.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

RESULT_FORMAT = 2


class _KnownMachine(TypedDict):
    model: str | None
    cpu: str | None
    architecture: str
    cores: int | None
    system: str
    python: str
    numpy: str


class MachineFacts(_KnownMachine, total=False):
    """What does not change during a measurement; None if the machine does not tell."""

    usable_cores: int | None
    memory_bytes: int | None
    virtual_machine: bool
    emulated: bool


class Conditions(TypedDict):
    """What can change and spoil a measurement.

    Frequency is in Hz, temperature in degrees Celsius, times are in seconds. ``throttled`` is what
    a Raspberry Pi's firmware says at this moment, ``throttle_events`` a counter of x86 CPUs.
    ``busy_s`` is how long all CPUs together have worked (stolen time included), ``own_s`` this
    process's part of it.
    """

    governor: str | None
    frequency_hz: int | None
    temperature_c: float | None
    throttled: bool | None
    throttle_events: int | None
    clock_s: float
    busy_s: float | None
    own_s: float


class _KnownSettings(TypedDict):
    mode: Literal["back-to-back", "paced"]
    threads: int
    interleaved_with: int


class RunSettings(_KnownSettings, total=False):
    """How it was measured.

    Runs back to back have ``steps``, ``rounds`` and ``warmup_s``; paced ones have ``duration_s``
    and ``period_s``.
    """

    cpus: list[int]
    realtime: int | None
    percentile: float | None
    keep_samples: bool
    garbage_collector: str
    steps: int
    rounds: int
    warmup_s: float
    duration_s: float
    period_s: float | None


class _KnownLatencyFacts(TypedDict):
    samples: int
    minimum: int
    mean: float
    standard_deviation: float
    percentiles: dict[str, int | None]
    maximum: int
    histogram: list[tuple[int, int]]


class LatencyFacts(_KnownLatencyFacts, total=False):
    """See :class:`device_runner.measure.latency.Latency`. Older results have no rounds."""

    round_p99: list[int]


class BackToBackFacts(TypedDict):
    """See :class:`device_runner.measure.latency.ModelLatency`; without the samples."""

    load: int
    first_step: int
    step: LatencyFacts
    input: LatencyFacts
    invoke: LatencyFacts
    state: LatencyFacts
    output: LatencyFacts
    float_step: LatencyFacts
    deadline: int
    deadline_misses: int
    headroom: float


class TimelineFacts(TypedDict):
    """See :class:`device_runner.measure.timeline.Timeline`."""

    frames_per_bin: int
    begun: list[int]
    done: list[int]
    missed: list[int]
    first: int
    stretch_begun: list[int]
    stretch_done: list[int]


class _KnownPacedFacts(TypedDict):
    load: int
    first_step: int
    frames: int
    step: LatencyFacts
    input: LatencyFacts
    invoke: LatencyFacts
    state: LatencyFacts
    output: LatencyFacts
    wake_up: LatencyFacts | None
    response: LatencyFacts
    deadline: int
    deadline_misses: int
    queued: int
    headroom: float


class PacedFacts(_KnownPacedFacts, total=False):
    """See :class:`device_runner.measure.paced.PacedLatency`; without the samples. Older
    results have no timeline."""

    timeline: TimelineFacts


class PlacementFacts(TypedDict):
    """See :class:`device_runner.backends.backend.Placement`."""

    accelerator: str
    delegated: list[str]
    on_cpu: list[str]


class EnergyFacts(TypedDict):
    """See :class:`device_runner.measure.energy.measurement.Energy`."""

    meter: str
    joules: float
    seconds: float
    steps: int
    joules_per_step: float


class WindowFacts(TypedDict):
    """See :class:`device_runner.model.window.Window`."""

    steps: int
    hop: int
    lanes: int


class RunFacts(TypedDict):
    """What the results of one run share."""

    result_format: int
    started: str
    machine: MachineFacts
    conditions_before: Conditions
    conditions_after: Conditions
    warnings: list[str]
    settings: RunSettings
    clock_overhead_ns: int
    peak_memory_bytes: int | None


class ModelFacts(TypedDict):
    """What was measured: the model, and what runs it."""

    file: str
    model_sha256: str
    file_bytes: int
    task: str
    cell: str
    units: list[int]
    scheme: str
    parameters: int
    metrics: dict[str, Any]
    recipe_hash: str
    backend: str
    backend_version: str
    placement: PlacementFacts | None
    wants_accelerator: bool
    arena_bytes: int | None


class _KnownResult(RunFacts, ModelFacts):
    # None for a file without a contract: see BenchResult.unverified.
    verification: dict[str, Any] | None
    valid: bool
    invalid_reason: str | None
    # The former if RunSettings.mode is "back-to-back", the latter if it is "paced".
    latency_ns: BackToBackFacts | PacedFacts
    energy: EnergyFacts | None


class BenchResult(_KnownResult, total=False):
    """One line of results.jsonl: what one step of one model cost on one machine.

    All times are integer nanoseconds unless named otherwise. If a result must not be trusted,
    ``valid`` is False and ``invalid_reason`` says why. ``front_end_ns`` is the time to make a frame
    from sound, before the step, if the model takes sound. ``window`` says for which frames the
    model answers, if not for each; a step is a frame, with an answer or not. ``rows`` is how many
    streams a call steps: all times are of such a call. ``unverified`` says
    why nothing tells whether the outputs are right, for a TFLite file without a contract.
    ``backend_choice`` says why the backend is this one, if it was chosen automatically.
    """

    backend_choice: str
    front_end_ns: LatencyFacts | None
    window: WindowFacts | None
    rows: int
    unverified: str | None


class DeviceResult(BenchResult):
    """A result from another machine, over ssh; ``device`` is that machine's name."""

    device: str
