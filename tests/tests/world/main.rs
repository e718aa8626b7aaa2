//! Worlds under seeds: everything that can go wrong, and what must be true all the same.

mod cases;
mod commits;
mod loss;
mod repeated;
mod seeds;
