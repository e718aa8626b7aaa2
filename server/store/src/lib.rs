//! What the server keeps, behind one trait.
