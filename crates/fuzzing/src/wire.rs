//! What a libvirtd (or whatever listens there) sends: frames, bodies of replies, events.

use mainstay_libvirt::{
    DomainRef, SnapshotRef, Uuid,
    domain::statistics::DomainStats,
    events,
    frame::{self, KEEPALIVE_PROGRAM, QEMU_PROGRAM, REMOTE_PROGRAM},
    procedures::Procedure,
    typed_params::Params,
    types::{PoolRef, VolumeRef},
    xdr::{Chars, Decode, Decoder, Encode, FixedChars, Opaque},
};

/// A stream of bytes, taken apart into frames as the reader does.
pub fn frames(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((header, payload, length))) = frame::first(rest) {
        assert!(length <= rest.len() && payload.len() < length, "no frame reaches beyond what was received");
        let again = header.frame(&Raw(payload)).expect("what was read is within the limits");
        assert_eq!(again, &rest[..length], "written again it is the same");
        rest = &rest[length..];
    }
}

/// The body of a reply, read as each of the types that replies have.
pub fn body(data: &[u8]) {
    read::<(i32, i32, Option<String>, i32)>(data);
    read::<(Vec<DomainRef>, u32)>(data);
    read::<(Vec<SnapshotRef>, i32)>(data);
    read::<(Vec<(String, i32)>, i32)>(data);
    read::<(String,)>(data);
    read::<(Option<String>,)>(data);
    read::<(Uuid,)>(data);
    read::<(PoolRef,)>(data);
    read::<(Vec<VolumeRef>, u32)>(data);
    read::<(Vec<i32>,)>(data);
    read::<Vec<(String, Option<String>, Vec<(i32, String, u32)>)>>(data);
    read::<(Opaque, Chars)>(data);
    let _ = <(FixedChars<32>, u64, i32)>::decode(&mut Decoder::new(data));
    let _ = Params::decode(&mut Decoder::new(data));
    let _ = <(Vec<DomainStats>,)>::decode(&mut Decoder::new(data));
}

/// A message that nobody asked for: its procedure in the first two bytes, then its body.
pub fn event(data: &[u8]) {
    let Some((number, body)) = data.split_first_chunk::<2>() else { return };
    let number = i32::from(u16::from_be_bytes(*number));
    for program in [REMOTE_PROGRAM, QEMU_PROGRAM, KEEPALIVE_PROGRAM] {
        if let Some(procedure) = Procedure::from_number(program, number) {
            let _ = events::decode(procedure, body);
        }
    }
}

/// Reads a value; if that succeeds, it can be written, and read again to the same.
fn read<T: Decode + Encode + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(value) = T::decode(&mut Decoder::new(data)) else { return };
    let mut bytes = Vec::new();
    // Text that was no UTF-8 may have grown over a limit.
    if value.encode(&mut bytes).is_ok() {
        let again = T::decode(&mut Decoder::new(&bytes)).expect("what was written can be read");
        assert_eq!(again, value);
    }
}

struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), mainstay_libvirt::xdr::XdrError> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}
