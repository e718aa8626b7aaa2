//! Whom a device believes: the anchors document.
