//! UDP shards and DTLS engines.
