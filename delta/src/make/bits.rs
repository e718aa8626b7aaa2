//! What decisions cost, in whole numbers: floats' logarithms are not the same on every machine, and patches must be.

/// One bit, in the unit of [`of_chance`] and [`log2`].
pub(crate) const BIT: u64 = 1 << 16;

/// Returns the cost of a decision with a probability of `part` / 65536, 1 ..= 65536.
pub(crate) const fn of_chance(part: u32) -> u64 {
    16 * BIT - log2(part)
}

/// Returns the binary logarithm of a number that is not 0, rounded down by less than a thousandth.
pub(crate) const fn log2(number: u32) -> u64 {
    let whole = number.ilog2();
    // Twelve bits behind the highest one.
    let index = if whole >= 12 { number >> (whole - 12) } else { number << (12 - whole) } & 0xfff;
    whole as u64 * BIT + LOGARITHMS[index as usize] as u64
}

/// Turns a cost into bytes, to be shown.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn bytes(cost: u64) -> f32 {
    (cost / BIT) as f32 / 8.0
}

/// log2(1 + n / 4096), in 65536ths.
static LOGARITHMS: [u16; 4096] = {
    let mut table = [0; 4096];
    let mut at = 0;
    while at < 4096 {
        table[at] = fraction(at as u64);
        at += 1;
    }
    table
};

/// Finds a logarithm bit by bit: each squaring doubles it.
const fn fraction(index: u64) -> u16 {
    let (mut number, mut found, mut bit) = ((4096 + index) << 19, 0_u16, 1_u16 << 15);
    while bit > 0 {
        // 31 bits behind the point.
        number = (number * number) >> 31;
        if number >> 32 != 0 {
            number >>= 1;
            found |= bit;
        }
        bit >>= 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_library() {
        for number in (1..66_000).chain([1 << 20, u32::MAX]) {
            let exact = f64::from(number).log2();
            let found = f64::from(u32::try_from(log2(number)).unwrap()) / 65_536.0;
            assert!(found <= exact && exact - found < 0.001, "{number}: {found}, not {exact}");
        }
    }
}
