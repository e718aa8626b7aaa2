//! Random numbers. The board has no generator: those of the host stand for it.

use crate::metal;
use bellwether_agent::platform::Random;

/// The host's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostNoise;

impl Random for HostNoise {
    fn fill(&mut self, into: &mut [u8]) {
        // A nonce of zeros would be refused as a repetition: a device must not go on with one.
        if !metal::host_noise(into) {
            metal::say("no random numbers\n");
            metal::exit(NO_NOISE);
        }
    }
}

/// Exit status where there is none.
const NO_NOISE: u32 = 9;
