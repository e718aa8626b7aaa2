//! Frames as any session may fetch them: ciphertext named by its root.

use bellwether_net::coap::{Code, Method, Request};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;

#[test]
fn unknown_root_is_not_found_and_a_block_past_the_end_is_a_bad_request() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let line = &meter.line;
    let frames = u32::try_from(granted.content_bytes.div_ceil(u64::from(granted.block_bytes))).expect("few");
    assert_eq!(line.block(&granted.location, frames - 1).code, Code::CONTENT);
    assert_eq!(line.block(&granted.location, frames).code, Code::BAD_REQUEST);
    assert_eq!(line.block(&granted.location, (1 << 20) - 1).code, Code::BAD_REQUEST);

    let other = format!("/f/{}", hex::encode(images::digest(b"nothing")));
    assert_eq!(line.block(&other, 0).code, Code::NOT_FOUND);
    for path in ["/f", "/f/", "/f/zz", "/f/00", &granted.location[..20], &format!("{}/0", granted.location)] {
        assert_eq!(line.block(path, 0).code, Code::NOT_FOUND, "{path}");
    }
    let post = line.send(Request::new(Method::Post, &granted.location));
    assert_eq!(post.code, Code::NOT_FOUND);
}

#[test]
fn frames_say_how_large_the_whole_is_and_that_they_keep() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meter.identity.patches = false;
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let first = meter.line.block(&granted.location, 0);
    let frames = granted.content_bytes.div_ceil(u64::from(granted.block_bytes));
    let whole = granted.content_bytes + 32 * frames;
    assert_eq!(first.size2.map(u64::from), Some(whole));
    assert!(first.etag.is_some() && first.max_age.is_some_and(|seconds| seconds > 86_400));
    assert_eq!(first.payload.len(), usize::from(granted.block_bytes) + 32);
    assert_eq!(images::digest(&first.payload), granted.root);
}
