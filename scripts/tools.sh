#!/usr/bin/env bash
# Checks that the tools which a target needs are here. As root it installs what is missing; otherwise it
# prints the line to run and stops. It never calls sudo by itself.
# Usage: scripts/tools.sh build | test | bench | bench-delta | delta-size | interop | microcontroller
set -euo pipefail

need_rust="1.95"
declare -A package=(
    [clang]=clang [cmake]=cmake [make]=make [cc]=gcc [git]=git
    [coap-client-openssl]=libcoap3-bin [coap-client-gnutls]=libcoap3-bin
    [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients
    [psql]=postgresql
    [python3]=python3 [pip]=python3-pip [valgrind]=valgrind
    [coap-client-notls]=libcoap3-bin [tshark]=tshark [javac]=default-jdk-headless [mvn]=maven
    [qemu-system-arm]=qemu-system-arm [arm-none-eabi-nm]=binutils-arm-none-eabi [arm-none-eabi-gcc]=gcc-arm-none-eabi
    [bsdiff]=bsdiff [xdelta3]=xdelta3 [zstd]=zstd
    [chromium]=chromium [chromedriver]=chromium-driver
    [node]=nodejs [npm]=npm [autoreconf]=autoconf [automake]=automake
)

missing=()
want() { command -v "$1" >/dev/null 2>&1 || missing+=("${package[$1]}"); }

check_rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "Rust is missing. Install it with rustup (https://rustup.rs), version $need_rust or newer." >&2
        exit 1
    fi
    local have
    have=$(rustc --version | sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/')
    if [ "$(printf '%s\n' "$need_rust" "$have" | sort -V | head -n 1)" != "$need_rust" ]; then
        echo "Rust $have is too old: $need_rust or newer is needed. Run: rustup update stable" >&2
        exit 1
    fi
}

# Mbed TLS is bound by bindgen, which loads libclang when it runs.
want_libclang() {
    if ! ldconfig -p 2>/dev/null | grep -q libclang && ! ls /usr/lib/llvm-*/lib/libclang* >/dev/null 2>&1; then
        missing+=(libclang-dev)
    fi
}

# A virtual environment, and the headers for the one Python package that is built.
want_python() {
    want python3
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    python3 -c 'import os, sysconfig as s; assert os.path.exists(s.get_path("include") + "/Python.h")' 2>/dev/null ||
        missing+=(python3-dev)
}

check_rust
case "${1:-build}" in
build) ;;
test) want coap-client-openssl; want coap-client-gnutls; want git; want mosquitto_pub; want psql
    want chromium; want chromedriver; want arm-none-eabi-nm
    # Its programs are in a folder of its version, which is in nobody's path.
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto) ;;
bench) want valgrind
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto) ;;
bench-delta) want bsdiff; want xdelta3; want zstd
    want_python ;;
interop) want coap-client-notls; want coap-client-openssl; want coap-client-gnutls; want tshark
    want javac; want mvn; want node; want npm; want autoreconf; want automake
    want_python ;;
delta-size) want arm-none-eabi-nm ;;
microcontroller) want qemu-system-arm; want arm-none-eabi-nm; want arm-none-eabi-gcc ;;
*) echo "usage: scripts/tools.sh build | test | bench | bench-delta | delta-size | interop | microcontroller" >&2; exit 2 ;;
esac
want clang; want cmake; want make; want cc
want_libclang

if [ "${#missing[@]}" -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    line="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing what is missing: ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $line >/dev/null
    else
        echo "Missing: ${missing[*]}. On Debian or Ubuntu run:" >&2
        echo "    sudo apt-get update && sudo $line" >&2
        exit 1
    fi
fi
