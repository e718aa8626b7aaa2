//! The characteristic definition: which answers a manifest asks of a device.
