#!/usr/bin/env bash
# Installs what is missing to build, run and test: system packages, a Rust toolchain, the ONNX Runtime library.
# What is there is left alone; a second call only looks.
set -euo pipefail
cd "$(dirname "$0")/.."

ort_version=1.31.1
ort_folder=build/onnxruntime
case "$(uname -m)" in
    x86_64) ort_sha256=1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536 ;;
    aarch64) ort_sha256=0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc ;;
    *) echo "no ONNX Runtime wheel is known for $(uname -m): set ORT_DYLIB_PATH to a library of version 1.24 or newer" >&2
       ort_sha256= ;;
esac

packages() {
    grep -vE '^\s*(#|$)' deploy/packages.txt
}

missing_packages() {
    local package
    for package in $(packages); do
        case "$package" in
            # A Python from elsewhere serves as well.
            python3) command -v python3 >/dev/null && continue ;;
            python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
        esac
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

install_packages() {
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    local command="apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" = 0 ]; then
        echo "installing: $missing"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 -qq install -y --no-install-recommends $missing
    else
        echo "these packages are missing: $missing" >&2
        echo "install them with: sudo $command" >&2
        exit 1
    fi
}

install_rust() {
    command -v cargo >/dev/null && return 0
    [ -x "$HOME/.cargo/bin/cargo" ] && return 0
    echo "installing a Rust toolchain"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt
}

install_onnxruntime() {
    local library="$ort_folder/libonnxruntime.so.$ort_version"
    [ -f "$library" ] && return 0
    [ -n "$ort_sha256" ] || return 0
    echo "fetching ONNX Runtime $ort_version"
    local download
    download=$(mktemp -d)
    local machine
    machine=$(uname -m)
    python3 -m pip download -q --no-deps --only-binary=:all: --implementation cp --python-version 3.12 --abi cp312 \
        --platform "manylinux_2_27_$machine" --platform "manylinux_2_28_$machine" -d "$download" "onnxruntime==$ort_version"
    local wheel
    wheel=$(echo "$download"/onnxruntime-*.whl)
    echo "$ort_sha256  $wheel" | sha256sum --check --quiet ||
        { echo "the ONNX Runtime wheel is not the one that was tested: expected sha256 $ort_sha256" >&2; exit 1; }
    mkdir -p "$ort_folder"
    python3 - "$wheel" "$ort_folder" <<'PYTHON'
import pathlib, sys, zipfile
wheel, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for name in wheel.namelist():
    base = name.rsplit("/", 1)[-1]
    if base.startswith("libonnxruntime.so") or name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
        partial = folder / (base + ".part")
        partial.write_bytes(wheel.read(name))
        partial.rename(folder / base)
PYTHON
    rm -r "$download"
}

install_packages
install_rust
install_onnxruntime
