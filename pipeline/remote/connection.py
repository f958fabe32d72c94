"""Run commands and move files over ssh, with one clear line for what goes wrong.

AsyncSSH does the work: it checks host keys against known_hosts, reads ~/.ssh/config (ProxyJump
too), notices a dead connection by unanswered keep-alives, and tells a lost connection from a failed
command. (Fabric adds unknown host keys by itself; paramiko leaves the other three to its user.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from device_runner.printable import printable
from pipeline.errors import DeviceError
from pipeline.remote.inventory import Device

CONNECT_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0
# What a command may write: ours write some lines.
OUTPUT_BYTES = 256 * 1024
# What a small file may hold.
SMALL_FILE_BYTES = 4096
# A connection that leaves three keep-alives unanswered is lost.
KEEPALIVE_S = 10.0


class LostConnectionError(Exception):
    """The connection cannot be made, or broke; another try may work."""


class RemoteFileError(Exception):
    """The device answered that a file operation failed."""


@dataclass(frozen=True)
class Completed:
    """What a command on the device returned."""

    exit_code: int
    output: str
    errors: str


class Connection:
    """An open connection.

    All methods raise LostConnectionError if it breaks; those for files raise RemoteFileError if the
    device refuses.
    """

    def __init__(self, ssh: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient) -> None:
        self._ssh, self._sftp = ssh, sftp

    async def run(self, command: str) -> Completed:
        """Run a shell command line to its end.

        Raises:
            RemoteFileError: it writes more than OUTPUT_BYTES.
        """
        with _watched():
            # The login shell may be any shell; the commands are for the POSIX shell.
            return await asyncio.wait_for(
                self._run(f"exec sh -c {shlex.quote(command)}"), COMMAND_TIMEOUT_S
            )

    async def _run(self, command: str) -> Completed:
        async with self._ssh.create_process(
            command, stdin=asyncssh.DEVNULL, encoding=None
        ) as process:
            output, errors = await asyncio.gather(
                _bounded(process.stdout), _bounded(process.stderr)
            )
            await process.wait_closed()
        if process.exit_status is None:
            raise LostConnectionError("a command was cut off")
        return Completed(process.exit_status, output, errors)

    async def put(self, file: Path, path: str) -> None:
        """Copy a local file to ``path``, which appears when it is whole."""
        partial = path + ".partial"
        with _watched():
            await self._sftp.put(str(file), partial)
            await self._sftp.posix_rename(partial, path)

    async def sizes(self, folder: str) -> dict[str, int] | None:
        """List the sizes in bytes of a folder's files, by name; None if there is no such folder."""
        try:
            with _watched():
                return {
                    str(entry.filename): entry.attrs.size or 0
                    for entry in await self._sftp.readdir(folder)
                }
        except asyncssh.SFTPNoSuchFile:
            return None

    async def read(self, path: str, limit: int = SMALL_FILE_BYTES, offset: int = 0) -> bytes:
        """Read at most ``limit`` bytes of a file from ``offset`` on; b"" if it is not there."""
        try:
            with _watched():
                async with self._sftp.open(path, "rb") as file:
                    content = await file.read(limit, offset)
        except asyncssh.SFTPNoSuchFile:
            return b""
        return content if isinstance(content, bytes) else content.encode()

    async def link(self, path: str) -> str | None:
        """Return where a symbolic link points; None if it is missing or not ours."""
        try:
            with _watched():
                return str(await self._sftp.readlink(path))
        except (asyncssh.SFTPNoSuchFile, RemoteFileError):
            return None


@contextlib.asynccontextmanager
async def connect(name: str, device: Device) -> AsyncIterator[Connection]:
    """Connect to a device, which messages call ``name``.

    Raises:
        LostConnectionError: the device does not answer now.
        DeviceError: it is not the one in known_hosts, refuses the keys, or has no SFTP.
    """
    given: dict[str, Any] = {
        "port": device.port,
        "username": device.user,
        "client_keys": device.key and [str(device.key)],
    }
    try:
        ssh = await asyncssh.connect(
            device.host,
            # What is not given is left to ~/.ssh/config, except which keys to trust:
            # "UserKnownHostsFile none" there would mean to trust any.
            **{key: value for key, value in given.items() if value is not None},
            known_hosts=_known_hosts(device),
            preferred_auth="publickey",
            keepalive_interval=KEEPALIVE_S,
            connect_timeout=CONNECT_TIMEOUT_S,
            login_timeout=CONNECT_TIMEOUT_S,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise DeviceError(
            f"{name}: its host key is not the one in known_hosts, or not there at all ({error}); "
            f"connect once with 'ssh' and compare the fingerprint; if the device was set up anew, "
            f"remove the old key with 'ssh-keygen -R' first"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise DeviceError(
            f"{name}: it refuses your keys ({_text(error)}); put your public key there with "
            "'ssh-copy-id', and add a key that has a passphrase to ssh-agent with 'ssh-add'"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise DeviceError(
            f"{name}: the key {device.key} cannot be used ({_text(error)}); "
            "add a key that has a passphrase to ssh-agent with 'ssh-add' and leave 'key' out"
        ) from error
    except (asyncssh.KeyExchangeFailed, asyncssh.ProtocolError, asyncssh.ConfigParseError) as error:
        raise DeviceError(f"{name}: no ssh connection ({_text(error)}); try 'ssh'") from error
    except FileNotFoundError as error:
        raise DeviceError(
            f"{name}: {error.filename or error}: no such file; check 'key' and 'known_hosts'"
        ) from error
    except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
        raise LostConnectionError(_text(error)) from error
    async with ssh:
        try:
            with _watched():
                sftp = await ssh.start_sftp_client()
        except (LostConnectionError, RemoteFileError) as error:
            if ssh.is_closed():
                raise
            raise DeviceError(
                f"{name}: it offers no SFTP ({error}); install openssh-sftp-server there"
            ) from error
        async with sftp:
            yield Connection(ssh, sftp)


def _known_hosts(device: Device) -> list[str] | bytes:
    """Return the files with trusted host keys; without any, nothing is trusted."""
    if device.known_hosts:
        return [str(device.known_hosts)]
    usual = (Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts"))
    return [str(path) for path in usual if os.access(path, os.R_OK)] or b""


async def _bounded(stream: asyncssh.SSHReader[bytes]) -> str:
    """Read what a command writes to its end."""
    parts, size = [], 0
    while part := await stream.read(OUTPUT_BYTES):
        parts.append(part)
        size += len(part)
        if size > OUTPUT_BYTES:
            raise RemoteFileError("a command there writes without end")
    return b"".join(parts).decode(errors="replace")


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Turn AsyncSSH's errors into ours; a missing file's stays as it is."""
    try:
        yield
    except asyncssh.SFTPNoSuchFile:
        raise
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
        raise LostConnectionError(_text(error)) from error
    except asyncssh.SFTPError as error:
        raise RemoteFileError(_text(error)) from error
    except asyncio.TimeoutError as error:
        raise LostConnectionError("no answer") from error
    except (asyncssh.Error, OSError) as error:
        raise LostConnectionError(_text(error)) from error


def _text(error: Exception) -> str:
    """Write an error in one line."""
    return printable(error, 300) or type(error).__name__
