//! The control plane: ways in, ledger, resolver, builder, vault, downlink, uplink.
