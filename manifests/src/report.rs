//! SUIT_Report: what became of an update.
