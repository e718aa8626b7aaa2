//! Delta updates: made on the server, applied as a stream in small RAM.
