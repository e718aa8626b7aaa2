//! The device's Linux shell: flash in a file, clock, network.
