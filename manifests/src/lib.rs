//! SUIT manifests and Bellwether's own messages: read, verify, run, author.
