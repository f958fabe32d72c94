"""``edgestep bench``: the on-device command, which ``--host`` and ``--inventory`` send away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from device_runner.backends import check_backend
from device_runner.commands.bench import bench as local_bench
from device_runner.commands.group import INTERRUPTED_EXIT_CODE
from device_runner.errors import MissingRuntimeError
from device_runner.measure.result import BenchResult
from device_runner.measure.result_log import append_result, check_appendable
from device_runner.measure.result_table import format_results
from device_runner.model.foreign_model import load_any_model
from device_runner.printable import echo
from pipeline.errors import DeviceError

# Options of bench for this side.
_STAY_HERE = ("output", "samples", "as_json", "force")

_remote_options = [
    click.Option(
        ["--host", "hosts"], multiple=True, metavar="USER@HOST[:PORT]",
        help="Measure there, over ssh, or on the device of this name in the inventory; "
             "may be repeated.",
    ),
    click.Option(
        ["--inventory"], type=click.Path(dir_okay=False, path_type=Path),
        help="TOML file of devices; all of them, or those named with --host.",
    ),
    click.Option(
        ["--python", "python"], metavar="PATH",
        help="The Python on the devices that has numpy, click and a runtime.",
    ),
]  # fmt: skip


@click.pass_context
def _bench(
    context: click.Context,
    /,
    hosts: tuple[str, ...],
    inventory: Path | None,
    python: str | None,
    **local: Any,
) -> None:
    """Measure what one step of each model costs, on this device or over ssh on others.

    Back to back, models taking turns; or, with --paced, at the pace of real use. A result that
    must not be trusted is marked INVALID, with the reason, and makes the exit code 5.

    With --host or --inventory the program and the models are copied into a temporary folder of
    each device, and removed afterwards; nothing is installed. Host keys must be in known_hosts,
    and a key or ssh-agent must open the door: no password is asked for.
    """
    if not hosts and not inventory:
        if python:
            raise click.UsageError("--python is for devices; add --host or --inventory")
        callback = local_bench.callback
        assert callback is not None  # noqa: S101 (a click command made by a decorator has one)
        callback(**local)
        return
    if local["samples"]:
        raise click.UsageError("--samples works on this device only; leave it or --host out")
    if local["data"]:
        raise click.UsageError("--data works on this device only; leave it or --host out")
    check_backend(local["backend"])
    _bench_remotely(
        hosts,
        inventory,
        python,
        [Path(file) for file in local["files"]],
        _given_options(context),
        local["output"],
        local["as_json"],
    )


bench = click.Command(
    "bench", callback=_bench, params=[*local_bench.params, *_remote_options], help=_bench.__doc__
)


def _given_options(context: click.Context) -> list[str]:
    """Return the options for the device as they are on the command line."""
    found: list[str] = []
    for option in local_bench.params:
        name = option.name
        if not isinstance(option, click.Option) or name is None or name in _STAY_HERE:
            continue
        if context.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if option.is_flag:
            found.append(option.opts[0])
        else:
            items = value if option.multiple else [value]
            if isinstance(value, dict):  # parsed KEY=VALUE options
                items = [f"{key}={setting}" for key, setting in value.items()]
            for item in items:
                found += [option.opts[0], str(item)]
    return found


def _bench_remotely(
    hosts: Sequence[str],
    inventory: Path | None,
    python: str | None,
    models: Sequence[Path],
    options: Sequence[str],
    output: Path | None,
    as_json: bool,
) -> None:
    try:
        from pipeline.remote.bench import bench_devices
        from pipeline.remote.inventory import choose_devices
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep bench --host' needs more packages ({error}); "
            "install them with 'pip install edgestep[remote]'"
        ) from error
    devices = choose_devices(hosts, inventory)
    if python:
        devices = {name: one.model_copy(update={"python": python}) for name, one in devices.items()}
    for model in models:
        load_any_model(model)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        check_appendable(output)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in devices}

    def keep(result: dict[str, Any]) -> None:
        found[result["device"]].append(result)
        if output:
            append_result(output, result)
        if as_json:
            echo(json.dumps(result, allow_nan=False))

    def report(name: str, text: str) -> None:
        echo(f"{name}: {text}", err=True)

    try:
        failures = bench_devices(devices, models, options, keep, report)
    except KeyboardInterrupt:
        kept = f"finished results are in {output}" if output else "name a file with --output"
        echo(f"Interrupted: the devices were told to stop; {kept}.", err=True)
        raise click.exceptions.Exit(INTERRUPTED_EXIT_CODE) from None
    if not as_json:
        for name, ours in found.items():
            if ours:
                echo(f"{name}\n{format_results(cast('list[BenchResult]', ours))}\n")
    _raise(failures, len(devices))


def _raise(failures: dict[str, DeviceError], devices: int) -> None:
    if not failures:
        return
    first = next(iter(failures.values()))
    if devices == 1:
        raise first
    for failure in failures.values():
        echo(f"FAILED  {failure.message}", err=True)
    raise DeviceError(
        f"{len(failures)} of {devices} devices failed: {', '.join(failures)}", first.exit_code
    )
