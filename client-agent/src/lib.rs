//! The device: update core and LwM2M agent core.
