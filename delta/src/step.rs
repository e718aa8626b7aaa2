//! Where in the stream a patcher stands, between two bits.

use crate::model::{Decision, Number};

/// The decision that comes next, with what is known of its symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Width { number: Number, at: u8 },
    Bit { number: Number, width: u8, at: u8, value: u32 },
    Hit { base: u8, upper: u8 },
    Difference { base: u8, node: u8 },
    Literal { node: u8 },
    Complete,
    GivenUp,
}

impl Step {
    pub(crate) const fn number(number: Number) -> Self {
        Self::Width { number, at: 0 }
    }

    pub(crate) const fn decision(self, base_at: u32) -> Option<Decision> {
        Some(match self {
            Self::Width { number, at } => Decision::Width { number, at },
            Self::Bit { number, width, at, .. } => Decision::Bit { number, width, at },
            Self::Hit { upper, .. } => Decision::Hit { base_at, upper },
            Self::Difference { node, .. } => Decision::Difference { node },
            Self::Literal { node } => Decision::Literal { node },
            Self::Complete | Self::GivenUp => return None,
        })
    }
}

/// Place in the tree of a byte's bits.
pub(crate) enum Node {
    Inner(u8),
    Leaf(u8),
}

/// `node` is 1 and the bits so far; the eighth bit pushes the 1 out and leaves the byte.
pub(crate) const fn next_node(node: u8, bit: bool) -> Node {
    let next = node << 1 | bit as u8;
    if node < 0x80 { Node::Inner(next) } else { Node::Leaf(next) }
}
