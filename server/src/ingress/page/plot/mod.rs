//! Plots, drawn here: geometry in, SVG out by their templates, which escape every name in them. Pure.

mod area;
mod bar;

pub(super) use area::{Area, Series};
pub(super) use bar::Bar;
