//! Whether a float has a shorter form (RFC 8949 §4.2.1).

/// Whether a single-precision float has the same value in half precision (RFC 8949 §4.2.1, shortest floats).
pub(super) fn fits_half(bits: u32) -> bool {
    let (exponent, fraction) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
    match exponent {
        0 => fraction == 0,
        // Infinite, or normal in half precision: 10 bits of fraction.
        0xff | 113..=142 => fraction.trailing_zeros() >= 13,
        // Subnormal in half precision: one bit of fraction less for every step of the exponent.
        103..=112 => (fraction | 1 << 23).trailing_zeros() >= 126 - exponent,
        _ => false,
    }
}

/// Whether a double-precision float has the same value in single precision.
pub(super) fn fits_single(bits: u64) -> bool {
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & 0xf_ffff_ffff_ffff);
    match exponent {
        0 => fraction == 0,
        0x7ff | 897..=1150 => fraction.trailing_zeros() >= 29,
        874..=896 => u64::from((fraction | 1 << 52).trailing_zeros()) >= 926 - exponent,
        _ => false,
    }
}
