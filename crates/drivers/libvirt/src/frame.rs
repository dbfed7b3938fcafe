//! Frames: the length word and the 24-byte header before each payload (`virnetprotocol.x`).

use crate::xdr::{Decode, Decoder, Encode, XdrError, wire_struct};

/// Most bytes in one message without its length word (`VIR_NET_MESSAGE_MAX`).
pub const MESSAGE_MAX: usize = 33_554_432;
const LENGTH_WORD: usize = 4;
const HEADER: usize = 24;

/// The program that all usual calls belong to.
pub const REMOTE_PROGRAM: u32 = 0x2000_8086;
/// The program of QEMU-only calls (guest agent commands).
pub const QEMU_PROGRAM: u32 = 0x2000_8087;
/// The program of keepalive messages ("keep" in ASCII).
pub const KEEPALIVE_PROGRAM: u32 = 0x6b65_6570;

/// `virNetMessageType`.
pub mod kind {
    /// Client to server: a call.
    pub const CALL: i32 = 0;
    /// Server to client: the answer to a call.
    pub const REPLY: i32 = 1;
    /// Either way, unasked: events, keepalive.
    pub const MESSAGE: i32 = 2;
    /// A packet of a stream that belongs to a call.
    pub const STREAM: i32 = 3;
}

/// `virNetMessageStatus`.
pub mod status {
    /// Went well; for a stream: complete.
    pub const OK: i32 = 0;
    /// An error follows.
    pub const ERROR: i32 = 1;
    /// More of the stream follows.
    pub const CONTINUE: i32 = 2;
}

wire_struct! {
    /// `virNetMessageHeader`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Header {
        /// Which program the procedure belongs to.
        pub program: u32,
        /// Version of the program: 1 for all.
        pub version: u32,
        /// Procedure number within the program.
        pub procedure: i32,
        /// See `kind`.
        pub kind: i32,
        /// Ties a reply or stream packet to its call; 0 for messages.
        pub serial: u32,
        /// See `status`.
        pub status: i32,
    }
}

impl Header {
    /// A header of `kind` for `procedure`, status OK.
    pub fn new(program: u32, procedure: i32, kind: i32, serial: u32) -> Self {
        Self { program, version: 1, procedure, kind, serial, status: status::OK }
    }

    /// The whole message: length word, this header, `payload`. Fails if it would be over libvirt's limit.
    pub fn frame(&self, payload: &(impl Encode + ?Sized)) -> Result<Vec<u8>, XdrError> {
        let mut bytes = vec![0; LENGTH_WORD];
        self.encode(&mut bytes)?;
        payload.encode(&mut bytes)?;
        let length = bytes.len();
        if length > MESSAGE_MAX + LENGTH_WORD {
            return Err(XdrError::TooLong { length, limit: MESSAGE_MAX });
        }
        bytes[..LENGTH_WORD].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(bytes)
    }
}

/// A message within a buffer: header, payload, and how many bytes of the buffer it takes.
pub type Message<'a> = (Header, &'a [u8], usize);

/// The first whole message in `buffer`; `None` until one is complete.
pub fn first(buffer: &[u8]) -> Result<Option<Message<'_>>, XdrError> {
    if buffer.len() < LENGTH_WORD {
        return Ok(None);
    }
    let length = u32::decode(&mut Decoder::new(buffer))? as usize;
    if length > MESSAGE_MAX + LENGTH_WORD {
        return Err(XdrError::TooLong { length, limit: MESSAGE_MAX });
    }
    if length < LENGTH_WORD + HEADER {
        return Err(XdrError::Truncated { needed: LENGTH_WORD + HEADER, left: length });
    }
    let Some(message) = buffer.get(LENGTH_WORD..length) else { return Ok(None) };
    let header = Header::decode(&mut Decoder::new(message))?;
    Ok(Some((header, &message[HEADER..], length)))
}
