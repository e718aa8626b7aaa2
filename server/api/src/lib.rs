//! Wire types of the HTTP interface.
