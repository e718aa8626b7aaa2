//! Manifests made and signed offline.
