#!/bin/sh
# Puts SwiftShader, a Vulkan driver that computes on the CPU, and the Vulkan loader into the folder
# $1: both come in Debian's chromium-common. Needs no root, installs nothing outside of $1.
set -eu
mkdir -p "$1/apt/lists/partial" "$1/apt/archives/partial"
cd "$1"
apt="apt-get -qq -o Dir::State::Lists=$PWD/apt/lists -o Dir::Cache=$PWD/apt -o APT::Sandbox::User="
fail() {
    echo "SwiftShader cannot be installed: $1" >&2
    echo "Use a real GPU with 'make test-gpu DRIVER=system'." >&2
    exit 4
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this is no Debian"
$apt update || fail "the package lists do not load; check the network"
$apt download chromium-common || fail "there is no package chromium-common here (Ubuntu has none)"
dpkg-deb --fsys-tarfile chromium-common_*.deb |
    tar -x --strip-components=4 ./usr/lib/chromium/libvk_swiftshader.so \
        ./usr/lib/chromium/vk_swiftshader_icd.json ./usr/lib/chromium/libvulkan.so.1 ||
    fail "this chromium-common brings no SwiftShader"
rm -rf apt chromium-common_*.deb
