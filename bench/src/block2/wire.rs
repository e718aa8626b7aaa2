//! The datagrams of a block-wise download: requests of the load, the fixed reply of the raw peer.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};

use crate::Failure;

/// Bytes of header and token, which a reply repeats from its request.
pub(super) const HEAD_BYTES: usize = 4 + TOKEN_BYTES;

/// A request for a frame, but for message id, token and block number.
pub(super) struct Asking {
    /// Everything before the Block2 option, which is the last one.
    before_block: Vec<u8>,
}

impl Asking {
    /// Prepares requests for the blocks of `/folder/name`.
    pub(super) fn new(path: &str) -> Result<Self, Failure> {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::Request(RequestType::Get);
        packet.set_token(vec![0; TOKEN_BYTES]);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        let before_block =
            packet.to_bytes().map_err(|error| format!("the request can't be written: {error}"))?;
        Ok(Self { before_block })
    }

    /// Writes the request for one block into `out`.
    pub(super) fn write(&self, message_id: u16, token: u64, block: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.before_block);
        out[2..4].copy_from_slice(&message_id.to_be_bytes());
        out[4..HEAD_BYTES].copy_from_slice(&token.to_be_bytes());
        // RFC 7959 §2.2: number, no more flag, SZX 6; never 0, so at least one byte.
        let value = (block << 4 | 6).to_be_bytes();
        let value = &value[value.iter().take_while(|byte| **byte == 0).count()..];
        // 12 after Uri-Path (11); a value has four bytes at most.
        out.push((BLOCK2 - URI_PATH) << 4 | value.len().to_le_bytes()[0]);
        out.extend_from_slice(value);
    }
}

/// Tells whether a datagram is the piggybacked 2.05 to this request, with exactly this payload.
pub(super) fn answers(datagram: &[u8], message_id: u16, token: u64, payload: &[u8]) -> bool {
    let Some((head, rest)) = datagram.split_at_checked(HEAD_BYTES) else {
        return false;
    };
    let body = rest.strip_suffix(payload);
    head[..2] == [ACKNOWLEDGEMENT, CONTENT]
        && head[2..4] == message_id.to_be_bytes()
        && head[4..] == token.to_be_bytes()
        && body.is_some_and(|options| options.last() == Some(&0xff))
}

/// Writes a reply with the options of a served frame; message id and token are still to be filled in.
pub(super) fn fixed_reply(payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.code = MessageClass::Response(ResponseType::Content);
    packet.set_token(vec![0; TOKEN_BYTES]);
    packet.add_option(CoapOption::ETag, payload[..8].to_vec());
    packet.add_option(CoapOption::ContentFormat, vec![42]);
    packet.add_option(CoapOption::MaxAge, 31_536_000u32.to_be_bytes().to_vec());
    packet.add_option(CoapOption::Block2, vec![0x0e]);
    packet.add_option(CoapOption::Size2, vec![0x04, 0, 0]);
    packet.payload = payload.to_vec();
    packet.to_bytes().map_err(|error| format!("the reply can't be written: {error}").into())
}

/// Copies message id and token of a request into a reply.
pub(super) fn fill_in(reply: &mut [u8], request: &[u8]) {
    if request.len() >= HEAD_BYTES {
        reply[2..HEAD_BYTES].copy_from_slice(&request[2..HEAD_BYTES]);
    }
}

const TOKEN_BYTES: usize = 8;
/// Version 1, acknowledgement, token of eight bytes; 2.05. RFC 7252 §3.
const ACKNOWLEDGEMENT: u8 = 0x68;
const CONTENT: u8 = 0x45;
/// Option numbers, RFC 7252 §5.10 and RFC 7959 §2.1.
const URI_PATH: u8 = 11;
const BLOCK2: u8 = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_reads_back_as_a_get_of_one_block() {
        let asking = Asking::new("/f/00ff").expect("written");
        let mut bytes = Vec::new();
        for (block, value) in
            [(0, vec![0x06]), (15, vec![0xf6]), (16, vec![0x01, 0x06]), (5_000, vec![1, 0x38, 0x86])]
        {
            asking.write(0xabcd, 7, block, &mut bytes);
            let packet = Packet::from_bytes(&bytes).expect("read");
            assert_eq!(packet.header.message_id, 0xabcd);
            assert_eq!(packet.get_token(), 7u64.to_be_bytes());
            assert_eq!(packet.get_first_option(CoapOption::Block2), Some(&value));
            let path: Vec<&[u8]> =
                packet.get_option(CoapOption::UriPath).into_iter().flatten().map(Vec::as_slice).collect();
            assert_eq!(path, [b"f".as_slice(), b"00ff"]);
        }
    }

    #[test]
    fn reply_to_another_request_or_with_another_byte_is_no_answer() {
        let payload = [9; 1024];
        let mut reply = fixed_reply(&payload).expect("written");
        let mut request = Vec::new();
        Asking::new("/f/00").expect("written").write(5, 6, 0, &mut request);
        fill_in(&mut reply, &request);
        assert!(answers(&reply, 5, 6, &payload));
        assert!(!answers(&reply, 4, 6, &payload));
        assert!(!answers(&reply, 5, 7, &payload));
        assert!(!answers(&reply, 5, 6, &payload[..1023]));
        let last = reply.len() - 1;
        reply[last] ^= 1;
        assert!(!answers(&reply, 5, 6, &payload));
        assert!(!answers(&reply[..3], 5, 6, &[]));
    }
}
