//! A gateway's folder in the hands of a thief: nothing in it opens content, and none of the devices' keys is in it.
//!
//! Tested by trying: every run of 16 and of 32 bytes of every file is taken for a key.

use aes::cipher::{KeyInit, KeyIvInit, StreamCipher};
use aes_kw::{KwAes128, KwAes256};
use bellwether_manifests::message::Moment;
use bellwether_net::coap::Code;
use bellwether_tests::raw_device::Granted;
use bellwether_tests::site::Site;
use ctr::Ctr128BE;

/// What a thief overheard, and wants to open.
struct Overheard<'a> {
    granted: &'a Granted,
    /// First bytes of the content as carried.
    carried: [u8; 16],
    /// First bytes of the image, which the thief knows from elsewhere.
    plain: [u8; 16],
}

impl Overheard<'_> {
    /// Whether some bytes are the key of the content, or open the wrapped key.
    fn is_opened_by(&self, key: &[u8]) -> bool {
        self.unwraps(key) || self.decrypts(key)
    }

    fn unwraps(&self, key: &[u8]) -> bool {
        let wrapped = self.granted.wrapped().wrapped;
        let mut out = [0; 64];
        let out = &mut out[..wrapped.len() - 8];
        match key.len() {
            16 => KwAes128::new_from_slice(key).expect("16 bytes").unwrap_key(wrapped, out).is_ok(),
            _ => KwAes256::new_from_slice(key).expect("32 bytes").unwrap_key(wrapped, out).is_ok(),
        }
    }

    fn decrypts(&self, key: &[u8]) -> bool {
        let mut bytes = self.carried;
        let iv = self.granted.iv.as_slice();
        match key.len() {
            16 => Ctr128BE::<aes::Aes128>::new_from_slices(key, iv)
                .expect("lengths")
                .apply_keystream(&mut bytes),
            _ => Ctr128BE::<aes::Aes256>::new_from_slices(key, iv)
                .expect("lengths")
                .apply_keystream(&mut bytes),
        }
        bytes == self.plain
    }

    /// Where in some bytes a key is.
    fn find_key(&self, bytes: &[u8]) -> Option<usize> {
        let at = |length| bytes.windows(length).position(|window| self.is_opened_by(window));
        at(32).or_else(|| at(16))
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn nothing_in_a_stolen_gateway_opens_what_it_carried() {
    let mut site = Site::new();
    let (first, second) = (site.identity("meter-1"), site.identity("meter-2"));
    let seeds: Vec<_> = [&first, &second].map(|one| (one.seed().to_vec(), one.psk())).into();
    let agent = site.known_agent("meter-3");
    site.meters.launch();
    // It has answered, cached, and keeps a report and a bundle.
    site.wait_prefetched();
    let mut meter = site.connect(first);
    let granted = meter.granted_soon(&site.meters.manifest.digest);
    let content = meter.line.fetch(&granted);
    let plain = meter.identity.open_content(&granted, &content).expect("opened");
    site.uplink.cut();
    let report = meter.identity.report(&granted, Moment::Decrypted);
    assert_eq!(meter.line.send_report(&report.bytes).code, Code::SERVICE_UNAVAILABLE);
    site.wait_reports(1);
    site.gateway.kill9();
    drop(agent);

    let overheard = Overheard {
        granted: &granted,
        carried: content[..16].try_into().expect("16 bytes"),
        plain: plain[..16].try_into().expect("16 bytes"),
    };
    let unit = std::fs::read(site.gateway.unit()).expect("its unit file");
    let files = site.stored();
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > content.len(), "it holds the frames");
    let all = files.into_iter().chain([(site.gateway.unit().to_owned(), unit)]);
    for (path, bytes) in all {
        let found = overheard.find_key(&bytes);
        assert_eq!(found, None, "{} holds a key", path.display());
        for (seed, psk) in &seeds {
            assert!(!contains(&bytes, seed), "{} holds a seed", path.display());
            assert!(!contains(&bytes, psk), "{} holds the key of a link with the server", path.display());
        }
        let piece = &plain[plain.len() / 2..][..32];
        assert!(!contains(&bytes, piece), "{} holds the image in clear", path.display());
    }
}

#[test]
fn search_for_keys_finds_one_that_is_there() {
    let site = Site::new();
    let mut meter = site.connect(site.identity("meter-1"));
    site.meters.launch();
    let granted = meter.granted_soon(&site.meters.manifest.digest);
    // The carried bytes are made of the plain ones, with a key that lies about.
    let (key, plain) = ([7; 32], [1; 16]);
    let mut carried = plain;
    let iv = granted.iv.as_slice();
    Ctr128BE::<aes::Aes256>::new_from_slices(&key, iv).expect("lengths").apply_keystream(&mut carried);
    let overheard = Overheard { granted: &granted, carried, plain };
    let mut bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(overheard.find_key(&bytes), None);
    bytes.splice(100..100, key);
    assert_eq!(overheard.find_key(&bytes), Some(100));
}
