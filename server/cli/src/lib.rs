//! The command line of Bellwether.
