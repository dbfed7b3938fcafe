//! XDR (RFC 4506) as libvirt uses it: encoding and decoding of primitive values, strings, arrays and tuples.
//!
//! Owns the bounds: nothing read from the wire is trusted, no length is allocated before it is known to be there, and
//! no input makes it panic. Does not know procedures or frames (`frame`, `procedures`).

use std::borrow::Cow;

use thiserror::Error;

/// libvirt's limit for a string (`REMOTE_STRING_MAX`) and an opaque cookie.
pub const STRING_MAX: usize = 4 * 1024 * 1024;
/// Most elements taken from one array (`REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX`, the largest limit of the protocol).
pub const ARRAY_MAX: usize = 262_144;

/// Why bytes could not be read or a value not be written as XDR.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XdrError {
    /// The message ended inside a value.
    #[error("message ends early: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A length is over libvirt's limit.
    #[error("length {length} is over the limit of {limit}")]
    TooLong {
        /// The length found.
        length: usize,
        /// The limit that holds.
        limit: usize,
    },
    /// A discriminant (boolean, optional, union) has a value that the protocol does not know.
    #[error("{value} is no valid {what}")]
    Discriminant {
        /// What was being read.
        what: &'static str,
        /// The value found.
        value: i64,
    },
}

/// A value that can be written as XDR.
pub trait Encode {
    /// Appends the value. Fails only on lengths over libvirt's limits.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError>;
}

/// A value that can be read from XDR.
pub trait Decode: Sized {
    /// Reads the value from the front of `input`. Fails on truncated or nonsensical input, never panics.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError>;
}

/// A cursor over received bytes.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], XdrError> {
        let (front, rest) =
            self.0.split_at_checked(count).ok_or(XdrError::Truncated { needed: count, left: self.0.len() })?;
        self.0 = rest;
        Ok(front)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn length(&mut self, limit: usize) -> Result<usize, XdrError> {
        let length = u32::decode(self)? as usize;
        if length > limit { Err(XdrError::TooLong { length, limit }) } else { Ok(length) }
    }

    /// A string in place; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, XdrError> {
        self.opaque().map(String::from_utf8_lossy)
    }

    /// The length of an array that the message can hold: every element takes at least 4 bytes.
    pub(crate) fn count(&mut self) -> Result<usize, XdrError> {
        self.count_up_to(ARRAY_MAX)
    }

    fn count_up_to(&mut self, limit: usize) -> Result<usize, XdrError> {
        let length = self.length(limit)?;
        if length > self.left() / 4 {
            return Err(XdrError::Truncated { needed: length * 4, left: self.left() });
        }
        Ok(length)
    }

    fn opaque(&mut self) -> Result<&'a [u8], XdrError> {
        let length = self.length(STRING_MAX)?;
        let bytes = self.take(length)?;
        self.take(padding(length))?;
        Ok(bytes)
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

fn put_length(length: usize, limit: usize, out: &mut Vec<u8>) -> Result<(), XdrError> {
    match u32::try_from(length) {
        Ok(short) if length <= limit => short.encode(out),
        _ => Err(XdrError::TooLong { length, limit }),
    }
}

fn put_opaque(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), XdrError> {
    put_length(bytes.len(), STRING_MAX, out)?;
    out.extend_from_slice(bytes);
    out.resize(out.len() + padding(bytes.len()), 0);
    Ok(())
}

macro_rules! big_endian {
    ($($number:ty),*) => {$(
        impl Encode for $number {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
                out.extend_from_slice(&self.to_be_bytes());
                Ok(())
            }
        }
        impl Decode for $number {
            fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
                Ok(Self::from_be_bytes(input.fixed()?))
            }
        }
    )*};
}
big_endian!(i32, u32, i64, u64, f64);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        u32::from(*self).encode(out)
    }
}

/// libvirt writes booleans as `int`; any value but 0 counts as true there, and so here.
impl Decode for bool {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(i32::decode(input)? != 0)
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        put_opaque(self.as_bytes(), out)
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        self.as_str().encode(out)
    }
}

/// Bytes that are not UTF-8 are replaced: names are for people, domains are found by their UUID.
impl Decode for String {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        input.text().map(Cow::into_owned)
    }
}

/// `opaque<>`: plain bytes with a length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opaque(pub Vec<u8>);

impl Encode for Opaque {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        put_opaque(&self.0, out)
    }
}

impl Decode for Opaque {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self(input.opaque()?.to_vec()))
    }
}

/// `char data<>`: libvirt's SASL messages carry every byte as a whole XDR integer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chars(pub Vec<u8>);

impl Encode for Chars {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        put_length(self.0.len(), ARRAY_MAX, out)?;
        // Sign-extended, as `xdr_char` writes a C `char`.
        self.0.iter().try_for_each(|byte| i32::from(byte.cast_signed()).encode(out))
    }
}

impl Decode for Chars {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self(Vec::<Char>::decode(input)?.into_iter().map(|char| char.0).collect()))
    }
}

/// One C `char`: the low byte of an XDR integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Char(u8);

impl Decode for Char {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self(input.fixed::<4>()?[3]))
    }
}

/// `char name[N]`: a C string of fixed length, each byte a whole XDR integer, ended by NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedChars<const N: usize>(pub String);

impl<const N: usize> Decode for FixedChars<N> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let bytes = (0..N).map(|_| Char::decode(input).map(|char| char.0)).collect::<Result<Vec<_>, _>>()?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
        Ok(Self(String::from_utf8_lossy(&bytes[..end]).into_owned()))
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        out.extend_from_slice(self);
        out.resize(out.len() + padding(N), 0);
        Ok(())
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let bytes = input.fixed()?;
        input.take(padding(N))?;
        Ok(bytes)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        self.is_some().encode(out)?;
        self.as_ref().map_or(Ok(()), |value| value.encode(out))
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        match u32::decode(input)? {
            0 => Ok(None),
            1 => T::decode(input).map(Some),
            other => Err(XdrError::Discriminant { what: "optional", value: i64::from(other) }),
        }
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        put_length(self.len(), ARRAY_MAX, out)?;
        self.iter().try_for_each(|value| value.encode(out))
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        // Refused before anything is allocated, if the message cannot hold it.
        (0..input.count()?).map(|_| T::decode(input)).collect()
    }
}

/// An array of at most `MOST` elements. A longer one is refused before anything is taken for it.
#[derive(Debug)]
pub struct AtMost<T, const MOST: usize>(pub Vec<T>);

impl<T: Decode, const MOST: usize> Decode for AtMost<T, MOST> {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        (0..input.count_up_to(MOST)?).map(|_| T::decode(input)).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        (**self).encode(out)
    }
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        #[allow(non_snake_case, reason = "type names double as value names")]
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            fn encode(&self, _out: &mut Vec<u8>) -> Result<(), XdrError> {
                let ($($name,)*) = self;
                $($name.encode(_out)?;)*
                Ok(())
            }
        }
        impl<$($name: Decode),*> Decode for ($($name,)*) {
            fn decode(_input: &mut Decoder<'_>) -> Result<Self, XdrError> {
                Ok(($($name::decode(_input)?,)*))
            }
        }
    )*};
}
tuples! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// Declares a struct whose fields lie on the wire in the order written.
macro_rules! wire_struct {
    ($(#[$meta:meta])* $visible:vis struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$meta])* $visible struct $name { $($(#[$field_meta])* pub $field: $kind,)* }
        impl $crate::xdr::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), $crate::xdr::XdrError> {
                $($crate::xdr::Encode::encode(&self.$field, out)?;)*
                Ok(())
            }
        }
        impl $crate::xdr::Decode for $name {
            fn decode(input: &mut $crate::xdr::Decoder<'_>) -> Result<Self, $crate::xdr::XdrError> {
                Ok(Self { $($field: $crate::xdr::Decode::decode(input)?,)* })
            }
        }
    };
}
pub(crate) use wire_struct;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{typed_params::Value, types::DomainRef, types::Uuid};

    fn encoded(value: &impl Encode) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        bytes
    }

    fn decoded<T: Decode>(bytes: &[u8]) -> Result<T, XdrError> {
        T::decode(&mut Decoder::new(bytes))
    }

    #[test]
    fn bytes_are_as_the_standard_says() {
        assert_eq!(encoded(&(1_i32, -1_i32, true)), [0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 1]);
        assert_eq!(encoded(&"abcde"), [0, 0, 0, 5, b'a', b'b', b'c', b'd', b'e', 0, 0, 0]);
        assert_eq!(encoded(&Some(2_u32)), [0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(encoded(&None::<u32>), [0, 0, 0, 0]);
        assert_eq!(encoded(&Chars(vec![1, 0xfe])), [0, 0, 0, 2, 0, 0, 0, 1, 255, 255, 255, 254]);
        assert_eq!(encoded(&[1_u8, 2, 3, 4, 5]), [1, 2, 3, 4, 5, 0, 0, 0]);
    }

    #[test]
    fn lengths_over_the_limits_are_refused_without_allocating() {
        let limit = XdrError::TooLong { length: STRING_MAX + 1, limit: STRING_MAX };
        assert_eq!(decoded::<String>(&encoded(&(STRING_MAX as u32 + 1,))), Err(limit.clone()));
        assert_eq!("x".repeat(STRING_MAX + 1).encode(&mut Vec::new()), Err(limit));
        assert!(matches!(decoded::<Vec<u32>>(&[255; 8]), Err(XdrError::TooLong { .. })));
        assert!(matches!(decoded::<Vec<u32>>(&encoded(&(1000_u32,))), Err(XdrError::Truncated { .. })));
        assert!(matches!(decoded::<Option<u32>>(&encoded(&(2_u32,))), Err(XdrError::Discriminant { .. })));
        assert!(matches!(decoded::<Value>(&encoded(&(8_i32, 1_i32))), Err(XdrError::Discriminant { .. })));
    }

    fn domains() -> impl Strategy<Value = Vec<(DomainRef, Option<String>)>> {
        let domain = ("\\PC*", any::<[u8; 16]>(), any::<i32>());
        let domain = domain.prop_map(|(name, uuid, id)| DomainRef { name, uuid: Uuid(uuid), id });
        proptest::collection::vec((domain, proptest::option::of(".*")), 0..5)
    }

    type Nested = Vec<(DomainRef, Option<String>)>;

    proptest! {
        #[test]
        fn what_is_written_is_read(domains in domains(), chars: Vec<u8>, number: (i64, u64)) {
            let all = (domains, Chars(chars), number);
            prop_assert_eq!(decoded::<(Nested, Chars, (i64, u64))>(&encoded(&all)), Ok(all));
        }

        #[test]
        fn whatever_is_cut_off_is_missed(domains in domains(), cut in 1_usize..64) {
            let bytes = encoded(&domains);
            let cut = cut.min(bytes.len());
            prop_assert!(decoded::<Nested>(&bytes[..bytes.len() - cut]).is_err());
        }

        #[test]
        fn garbage_is_an_error_or_a_value_and_never_a_panic(bytes: Vec<u8>) {
            let _either = decoded::<Nested>(&bytes);
            let _either = decoded::<Vec<(String, Value)>>(&bytes);
            let _either = decoded::<(Opaque, Chars)>(&bytes);
            let _either = crate::frame::first(&bytes);
        }
    }
}
