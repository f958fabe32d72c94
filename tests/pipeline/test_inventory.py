"""Devices as the command line and inventory files describe them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InventoryError
from pipeline.remote.inventory import Device, choose_devices, load_inventory, parse_address

FULL = """
[devices.pi5]
host = "raspberrypi.local"
port = 2222
user = "pi"
key = "~/.ssh/id_pi"
known_hosts = "~/.ssh/known_pis"
python = "~/edgestep/bin/python"
folder = "/var/tmp"
backend = "litert"
threads = 2
cpus = [2, 3]

[devices.coral]
host = "192.0.2.7"
"""


@pytest.fixture
def write(tmp_path):
    def make(text: str) -> Path:
        path = tmp_path / "inventory.toml"
        path.write_text(text)
        return path

    return make


@pytest.mark.parametrize(
    ("address", "user", "host", "port"),
    [
        ("raspberrypi", None, "raspberrypi", None),
        ("pi@raspberrypi.local", "pi", "raspberrypi.local", None),
        ("pi@192.0.2.7:2222", "pi", "192.0.2.7", 2222),
        ("pi@[2001:db8::7]", "pi", "2001:db8::7", None),
        ("[fe80::1%eth0]:22", None, "fe80::1%eth0", 22),
    ],
)
def test_addresses(address, user, host, port):
    device = parse_address(address)
    assert (device.user, device.host, device.port) == (user, host, port)
    assert device.python == "python3"
    assert device.folder == "/tmp"


@pytest.mark.parametrize(
    "address", ["", "pi@", "@host", "pi@host:", "pi@host:x", "a b@host", "-oProxyCommand=x",
                "pi@-host", "2001:db8::7", "pi@host:0", "pi@host:70000", "host;reboot\n"],
)  # fmt: skip
def test_bad_addresses(address):
    with pytest.raises(InventoryError) as caught:
        parse_address(address)
    assert len(caught.value.message.splitlines()) == 1


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(InventoryError, match="use a key") as caught:
        parse_address("pi:raspberry@host")
    assert "raspberry@" not in caught.value.message


def test_an_inventory(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    devices = load_inventory(write(FULL))
    assert devices == {
        "pi5": Device(
            host="raspberrypi.local",
            port=2222,
            user="pi",
            key=Path("/home/somebody/.ssh/id_pi"),
            known_hosts=Path("/home/somebody/.ssh/known_pis"),
            python="~/edgestep/bin/python",
            folder="/var/tmp",
            backend="litert",
            threads=2,
            cpus=(2, 3),
        ),
        "coral": Device(host="192.0.2.7"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[devices.NAME]"),
        ("[devices]", "[devices.NAME]"),
        ("[hosts.pi]\nhost = 'pi'", "[devices.NAME]"),
        ("[devices]\npi = 3", "[devices.pi]: must be a table"),
        ("[devices.pi]\nuser = 'pi'", "[devices.pi]: the key 'host' is missing"),
        ("[devices.pi]\nhots = 'pi'", "unknown key 'hots'; there are: host, port"),
        ("[devices.pi]\nhost = 'pi'\npassword = 'x'", "unknown key 'password'"),
        (
            "[devices.pi]\nhost = '-oProxyCommand=x'",
            "'host' is wrong: it must be a name or address",
        ),
        ("[devices.pi]\nhost = 'pi'\nport = 0", "'port' is wrong"),
        ("[devices.pi]\nhost = 'pi'\nfolder = 'tmp'", "'folder' is wrong: it must be a path on"),
        ("[devices.pi]\nhost = 'pi'\nbackend = 'litrt'", "'backend' is wrong: there are: auto"),
        ("[devices.pi]\nhost = 'pi'\npython = '-c'", "'python' is wrong"),
        ("[devices.pi]\nhost = 'pi'\ncpus = [-1]", "'cpus' is wrong"),
        ("[devices.'../pi']\nhost = 'pi'", "'../pi' is no name for a device"),
        ("devices = ", "cannot be read as TOML"),
    ],
)
def test_bad_inventories(text, said, write):
    path = write(text)
    with pytest.raises(InventoryError) as caught:
        load_inventory(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_a_missing_inventory(tmp_path):
    with pytest.raises(InventoryError, match=r"none\.toml: cannot be read"):
        load_inventory(tmp_path / "none.toml")


def test_devices_are_chosen_by_name_or_address(write):
    path = write(FULL)
    assert list(choose_devices((), path)) == ["pi5", "coral"]
    chosen = choose_devices(("coral", "pi@zero"), path)
    assert {name: device.host for name, device in chosen.items()} == {
        "coral": "192.0.2.7",
        "pi@zero": "zero",
    }
    with pytest.raises(InventoryError, match="twice"):
        choose_devices(("coral", "coral"), path)
