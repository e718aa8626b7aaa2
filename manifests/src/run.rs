//! The abstract machine that runs a manifest's commands.
