//! Macros that give libvirt's numbers names: plain enums, enums with a detail, and flags. A number that this client is
//! too young to know is kept, never an error.

macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
            /// A number younger than this client.
            Unknown(i32),
        }
        impl From<i32> for $name {
            fn from(number: i32) -> Self {
                match number { $($number => Self::$variant,)* other => Self::Unknown(other) }
            }
        }
        impl $name {
            /// libvirt's number.
            pub fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* Self::Unknown(number) => number }
            }
        }
    };
}

macro_rules! detailed_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident($detail:ident) = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_meta])* $variant($detail),)*
            /// A number younger than this client, with its detail.
            Unknown(i32, i32),
        }
        impl $name {
            /// From libvirt's two numbers.
            pub fn new(number: i32, detail: i32) -> Self {
                match number { $($number => Self::$variant(detail.into()),)* _ => Self::Unknown(number, detail) }
            }
        }
    };
}

macro_rules! flags {
    ($(#[$meta:meta])* $name:ident { $($(#[$flag_meta:meta])* $flag:ident = $bit:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name(pub u32);
        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$flag_meta])* pub const $flag: Self = Self(1 << $bit);)*
        }
        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
        impl $crate::xdr::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), $crate::xdr::XdrError> {
                self.0.encode(out)
            }
        }
    };
}

pub(crate) use {detailed_enum, flags, wire_enum};
