//! Bellwether's own messages.
