//! Every decision of the server, pure.
