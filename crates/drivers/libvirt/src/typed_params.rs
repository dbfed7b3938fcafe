//! Typed parameters: libvirt's lists of named values, for statistics, job progress and migration options.

use std::collections::BTreeMap;

use crate::xdr::{Decode, Decoder, Encode, XdrError};

/// A value and its type (`virTypedParameterType`).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// 32 bits, signed.
    Int(i32),
    /// 32 bits.
    Uint(u32),
    /// 64 bits, signed.
    Long(i64),
    /// 64 bits.
    Ulong(u64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// Text.
    Text(String),
}

impl Encode for Value {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        match self {
            Self::Int(value) => (1_i32, value).encode(out),
            Self::Uint(value) => (2_i32, value).encode(out),
            Self::Long(value) => (3_i32, value).encode(out),
            Self::Ulong(value) => (4_i32, value).encode(out),
            Self::Double(value) => (5_i32, value).encode(out),
            Self::Boolean(value) => (6_i32, value).encode(out),
            Self::Text(value) => (7_i32, value).encode(out),
        }
    }
}

impl Decode for Value {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(match i32::decode(input)? {
            1 => Self::Int(Decode::decode(input)?),
            2 => Self::Uint(Decode::decode(input)?),
            3 => Self::Long(Decode::decode(input)?),
            4 => Self::Ulong(Decode::decode(input)?),
            5 => Self::Double(Decode::decode(input)?),
            6 => Self::Boolean(Decode::decode(input)?),
            7 => Self::Text(Decode::decode(input)?),
            other => return Err(XdrError::Discriminant { what: "typed parameter", value: i64::from(other) }),
        })
    }
}

impl Value {
    /// The number, whatever its width; `None` if it is negative or no number.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Int(value) => u64::try_from(*value).ok(),
            Value::Uint(value) => Some(u64::from(*value)),
            Value::Long(value) => u64::try_from(*value).ok(),
            Value::Ulong(value) => Some(*value),
            Value::Boolean(value) => Some(u64::from(*value)),
            Value::Double(_) | Value::Text(_) => None,
        }
    }
}

/// Named values as received; of a name that comes twice the last counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params(BTreeMap<String, Value>);

impl Decode for Params {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self(Vec::<(String, Value)>::decode(input)?.into_iter().collect()))
    }
}

impl Params {
    /// The number called `name`, whatever its width; `None` if it is missing, negative or no number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.number()
    }

    /// The text called `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}
