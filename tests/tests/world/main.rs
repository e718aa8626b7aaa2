//! Worlds under seeds: everything that can go wrong, and what must be true all the same.

mod commits;
mod repeated;
mod seeds;
