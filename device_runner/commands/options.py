"""Options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from device_runner.backends import AUTOMATIC, BACKENDS

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

backend_option = click.option(
    "--backend", default=AUTOMATIC, show_default=True,
    help=f"Runtime: {', '.join(BACKENDS)}, or auto for the first installed.",
)  # fmt: skip

force_option = click.option(
    "--force", is_flag=True, help="Replace a file of another kind that is there."
)


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a runtime loads a model; the command gets ``options``."""

    @click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True,
                  help="Threads the runtime may use for one step.")  # fmt: skip
    @click.option("--delegate", metavar="PATH",
                  help="Delegate's shared library, for the backend external-delegate.")  # fmt: skip
    @click.option("--delegate-option", "delegate_options", metavar="KEY=VALUE", multiple=True,
                  callback=_pairs, help="Handed to the delegate; may be given again.")  # fmt: skip
    @click.option("--device", metavar="NAME",
                  help="One of several accelerators, as the backend names them.")  # fmt: skip
    @click.option("--memory", type=click.IntRange(64), metavar="MB",
                  help="What a model may take beyond its own tensors; 1024, and for "
                       "accelerators 4096.")  # fmt: skip
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        threads: int,
        delegate: str | None,
        delegate_options: dict[str, str],
        device: str | None,
        memory: int | None,
        **kwargs: Any,
    ) -> Any:
        from device_runner.backends.backend import LoadOptions

        options = LoadOptions(threads, delegate, delegate_options, device, memory)
        return command(*args, options=options, **kwargs)

    return wrapped


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, separator, setting = value.partition("=")
        if not key or not separator:
            raise click.BadParameter(f"'{value}' is not of the form KEY=VALUE")
        pairs[key] = setting
    return pairs
