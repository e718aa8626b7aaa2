# Targets of small devices, for scripts that source this: `device`, that of a Cortex-M4, `other_devices` of a Cortex-M3 and
# a Cortex-M33, and `want_device` which installs one.
device=thumbv7em-none-eabihf
other_devices=(thumbv7m-none-eabi thumbv8m.main-none-eabihf)

want_device() {
    local target=${1:-$device}
    if ! rustc --print target-libdir --target "$target" 2>/dev/null | xargs test -d; then
        rustup target add "$target" || {
            echo "The target $target is missing. Run: rustup target add $target" >&2
            return 1
        }
    fi
}
