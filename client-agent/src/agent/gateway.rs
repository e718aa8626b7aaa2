//! What goes over the link to the gateway beside steps of updates.

use bellwether_coap::{Code, Method, Request};
use lwm2m_rs::Path;
use lwm2m_rs::table::firmware_update as firmware;

/// Says that the device is there.
pub(super) fn hello() -> Request {
    Request::new(Method::Post, "/h")
}

/// Tells what a gateway is answered that asks for something beyond its part: pushing a manifest, reading what became
/// of it, and starting the image that its grant brought.
pub(super) fn refusal(request: &Request) -> Option<Code> {
    let resource = |id| Path::Resource(5, 0, id);
    let is = |path| Path::from_segments(&request.path).is_ok_and(|asked| asked == path);
    let allowed = match request.method {
        // An empty package, or NUL, resets the state machine: that would end an update.
        Method::Put => is(resource(firmware::PACKAGE)) && !matches!(request.payload.as_slice(), [] | [0]),
        Method::Get => is(resource(firmware::UPDATE_RESULT)),
        Method::Post => is(resource(firmware::UPDATE)),
        _ => false,
    };
    (!allowed).then_some(Code::UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, path: &str, body: &[u8]) -> bool {
        refusal(&Request::new(method, path).with_payload(42, body.to_vec())).is_some()
    }

    #[test]
    fn gateway_may_push_a_manifest_read_its_result_and_start_the_image() {
        assert!(!refused(Method::Put, "/5/0/0", &[1, 2]));
        assert!(!refused(Method::Get, "/5/0/5", &[]));
        assert!(!refused(Method::Post, "/5/0/2", &[]));
    }

    #[test]
    fn gateway_may_neither_reset_cancel_write_anchors_nor_read_other_objects() {
        assert!(refused(Method::Put, "/5/0/0", &[0]) && refused(Method::Put, "/5/0/0", &[]));
        assert!(refused(Method::Post, "/5/0/10", &[]) && refused(Method::Put, "/26250/0/0", &[1]));
        for path in ["/3/0", "/5/0", "/5", "/1/0/1", "/26250/0/2", "/5/0/5/0"] {
            assert!(refused(Method::Get, path, &[]), "{path}");
        }
    }
}
