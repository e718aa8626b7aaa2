//! A CoAP endpoint without IO.
