# The target of a small device, for scripts that source this: `device`, and `want_device` which installs it.
device=thumbv7em-none-eabihf

want_device() {
    if ! rustc --print target-libdir --target "$device" 2>/dev/null | xargs test -d; then
        rustup target add "$device" || {
            echo "The target $device is missing. Run: rustup target add $device" >&2
            return 1
        }
    fi
}
