//! Frames against the vectors.

use bellwether_manifests::frame::{FrameChain, FrameError, Layout, Resume};
use bellwether_manifests::message::Descriptor;

use crate::{file, sha256};

fn frames() -> Vec<Vec<u8>> {
    (0..7).map(|number| file(&format!("frame-{number}.bin"))).collect()
}

#[test]
fn frames_follow_from_the_root_of_the_descriptor() {
    let descriptor = file("descriptor-full.cbor");
    let resource = Descriptor::decode(&descriptor).unwrap().resource(0).unwrap();
    let layout = Layout::new(resource.content_bytes, resource.chain.block_bytes).unwrap();
    let mut resume = Resume::start(*resource.chain.root);
    let mut content = Vec::new();
    for frame in frames() {
        assert_eq!(layout.frame_len(resume.frame), Some(frame.len()));
        content.extend_from_slice(resume.accept(&layout, &frame).unwrap());
    }
    assert!(resume.is_complete(&layout));
    assert_eq!(sha256(&content), *resource.content);
    let chain = FrameChain::build(&content, 992).unwrap();
    assert_eq!(chain.root(), *resource.chain.root);
    assert_eq!(chain.framed(), frames().concat());
}

#[test]
fn altered_or_swapped_frame_is_asked_for_again_alone() {
    let descriptor = file("descriptor-full.cbor");
    let resource = Descriptor::decode(&descriptor).unwrap().resource(0).unwrap();
    let layout = Layout::new(resource.content_bytes, 992).unwrap();
    let frames = frames();
    let mut resume = Resume::start(*resource.chain.root);
    resume.accept(&layout, &frames[0]).unwrap();
    let mut altered = frames[1].clone();
    altered[500] ^= 0x10;
    assert_eq!(resume.accept(&layout, &altered), Err(FrameError::Digest));
    assert_eq!(resume.accept(&layout, &frames[2]), Err(FrameError::Digest));
    assert_eq!(resume.accept(&layout, &frames[6]), Err(FrameError::Length { expected: 1024, found: 280 }));
    assert_eq!(resume.accept(&layout, &frames[1]), Ok(&frames[1][..992]));
}
