"""Read devices to reach over ssh, from the command line or a TOML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from device_runner.backends import AUTOMATIC, BACKENDS
from pipeline.errors import InventoryError
from pipeline.names import FileName
from pipeline.toml_settings import read_toml

# [user@]host[:port]; an IPv6 address in brackets.
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s-][^@\s]*)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@\s:\[\]-][^@\s:\[\]]*)"
    r"(?::(?P<port>\d+))?"
)
# ~/.ssh/config may hand both to a shell (ProxyCommand with %h and %r): nothing that means something
# there.
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*\$?")


def _is_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(
            "it must be a name or address: letters, digits and '.', '-', '_', ':', '%'"
        )
    return text


def _is_user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError("it must be a user's name: letters, digits and '.', '-', '_', '+', '@'")
    return text


def _is_remote_path(text: str) -> str:
    if not text.startswith(("/", "~/")) or "\n" in text or "\0" in text:
        raise ValueError("it must be a path on the device that begins with '/' or '~/'")
    return text


def _is_backend(name: str) -> str:
    if name not in (AUTOMATIC, *BACKENDS):
        raise ValueError(f"there are: {AUTOMATIC}, {', '.join(BACKENDS)}")
    return name


_Host = Annotated[str, AfterValidator(_is_host)]
_User = Annotated[str, AfterValidator(_is_user)]
_Cpu = Annotated[int, Field(ge=0)]


class Device(BaseModel):
    """A device: how to reach it, and how to measure models there.

    Args:
        host: name, address, or a Host of ~/.ssh/config.
        port, user: None for what ~/.ssh/config says, else 22 and the user's own name.
        key: private key file; None for the agent's keys and those in ~/.ssh.
        known_hosts: file with the device's host key; None for ~/.ssh/known_hosts and
            /etc/ssh/ssh_known_hosts.
        python: command or path on the device of a Python with numpy, click and a runtime.
        folder: the folder on the device in which a temporary one is made.
        backend, threads, cpus: options of ``edgestep bench``; None and () for its defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: _Host
    port: int | None = Field(None, ge=1, le=65535)
    user: _User | None = None
    key: Path | None = None
    known_hosts: Path | None = None
    python: str = Field("python3", min_length=1, pattern=r"^[^\n\x00-]")
    folder: Annotated[str, AfterValidator(_is_remote_path)] = "/tmp"  # noqa: S108
    backend: Annotated[str, AfterValidator(_is_backend)] | None = None
    threads: int | None = Field(None, ge=1, le=64)
    cpus: tuple[_Cpu, ...] = ()


def parse_address(address: str) -> Device:
    """Parse ``[user@]host[:port]``.

    Raises:
        InventoryError: the address is not of that form.
    """
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise InventoryError(f"{address!r} is no device; name one as user@host or user@host:port")
    if ":" in (found["user"] or ""):
        raise InventoryError(
            "a password on the command line can be read by all; use a key: 'ssh-copy-id user@host'"
        )
    try:
        return Device(host=found["host"].strip("[]"), user=found["user"], port=found["port"])
    except ValidationError as error:
        raise InventoryError(f"'{address}': {_first_problem(error)}") from error


def load_inventory(path: Path) -> dict[str, Device]:
    """Read by name the devices of a TOML file with a table ``[devices.NAME]`` for each.

    ``key`` and ``known_hosts`` may begin with "~/".

    Raises:
        InventoryError: the file cannot be read, has no device, or an entry is unknown or wrong.
    """
    try:
        raw = read_toml(path, InventoryError)
    except FileNotFoundError as error:
        raise InventoryError(f"{path}: cannot be read as TOML ({error})") from error
    tables = raw.pop("devices", None)
    if raw or not isinstance(tables, dict) or not tables:
        raise InventoryError(f"{path}: must consist of tables [devices.NAME], each with a 'host'")
    devices = {}
    for name, table in tables.items():
        try:
            TypeAdapter(FileName).validate_python(name)
        except ValidationError as error:
            raise InventoryError(
                f"{path}: {name!r} is no name for a device; use letters, digits, '.', '_' and '-', "
                "a letter or digit first"
            ) from error
        try:
            device = Device.model_validate(table)
        except ValidationError as error:
            raise InventoryError(f"{path}: [devices.{name}]: {_first_problem(error)}") from error
        local = {key: value.expanduser() for key in ("key", "known_hosts")
                 if (value := getattr(device, key)) is not None}  # fmt: skip
        devices[name] = device.model_copy(update=local)
    return devices


def choose_devices(hosts: Sequence[str], inventory: Path | None) -> dict[str, Device]:
    """Return the devices by their names in results.

    Args:
        hosts: names from the inventory, or addresses; if empty, the whole inventory.
        inventory: path of the inventory, if there is one.

    Raises:
        InventoryError: the inventory or an address is wrong, or a device is named twice.
    """
    known = load_inventory(inventory) if inventory else {}
    if not hosts:
        return known
    repeated = next((host for host in hosts if hosts.count(host) > 1), None)
    if repeated:
        raise InventoryError(f"'{repeated}' is named twice; its measurements would disturb another")
    return {host: known.get(host) or parse_address(host) for host in hosts}


def _first_problem(error: ValidationError) -> str:
    problems: list[Any] = error.errors(include_url=False, include_context=False)
    # A misspelt key also leaves the right one missing; the message names the misspelt one.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}'; there are: {', '.join(Device.model_fields)}"
    if problem["type"] == "missing":
        return f"the key '{where}' is missing"
    if not where:
        return "must be a table of keys"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"'{where}' is wrong: {reason[0].lower()}{reason[1:]}, found {problem['input']!r}"
