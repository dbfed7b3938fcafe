//! What is in no log, message, `Debug` output or JSON: passwords, tokens, keys. Its memory is overwritten when it is dropped.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroize;

/// Stands for a secret wherever something is shown.
pub const HIDDEN: &str = "***";

/// A secret. It is shown by [`Secret::expose`] only, which says so where it is called.
#[derive(Clone)]
pub struct Secret<T: Zeroize = String>(T);

impl<T: Zeroize> Secret<T> {
    /// Keeps a secret.
    pub fn new(secret: impl Into<T>) -> Secret<T> {
        Secret(secret.into())
    }

    /// The secret itself: not for any output.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// True if it is this text. Looks at every byte whatever differs first, so that the time taken tells nothing but the length.
    pub fn is(&self, other: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), other.as_bytes());
        own.len() == other.len() && own.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + AsRef<str>> PartialEq for Secret<T> {
    fn eq(&self, other: &Secret<T>) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl<T: Zeroize + AsRef<str>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// A setting that is a secret if its name says so, such as an option of a fence agent.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// For everyone to see.
    Plain(String),
    /// Not for any output.
    Secret(Secret),
}

impl Setting {
    /// The setting of this name.
    pub fn new(name: &str, value: impl Into<String>) -> Setting {
        match is_secret(name) {
            true => Setting::Secret(Secret::new(value)),
            false => Setting::Plain(value.into()),
        }
    }

    /// Its value, also if it is a secret: not for any output.
    pub fn expose(&self) -> &str {
        match self {
            Setting::Plain(text) => text,
            Setting::Secret(secret) => secret.expose(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Plain(text) => fmt::Debug::fmt(text, f),
            Setting::Secret(secret) => fmt::Debug::fmt(secret, f),
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Setting::Plain(text) => serializer.serialize_str(text),
            Setting::Secret(secret) => secret.serialize(serializer),
        }
    }
}

/// What was shown comes back without its secrets: enough to plan with, and no device takes it.
impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Setting, D::Error> {
        String::deserialize(deserializer).map(Setting::Plain)
    }
}

/// A name with one of these in it is that of a secret (passwd, snmp_priv_passwd, secret_key, apikey, community,
/// hexadecimal_kg, …), unless it names a file or a script that tells the secret.
const MARKS: [&str; 8] = ["passw", "secret", "token", "apikey", "api_key", "access_key", "community", "_kg"];

/// True if what has this name is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    MARKS.iter().any(|mark| name.contains(mark)) && !name.ends_with("_file") && !name.ends_with("_script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing_but_its_own_method() {
        let secret: Secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "hunter2");
        assert!(secret.is("hunter2") && !secret.is("hunter") && !secret.is("hunter3"));
    }

    #[test]
    fn settings_are_secrets_by_their_names() {
        for name in ["passwd", "snmp-priv-passwd", "Password", "api-key", "hexadecimal_kg", "community", "x_token"] {
            let setting = Setting::new(name, "hunter2");
            assert_eq!(format!("{setting:?} {}", serde_json::to_string(&setting).unwrap()), "*** \"***\"", "{name}");
            assert_eq!(setting.expose(), "hunter2");
        }
        for name in ["ip", "password_file", "passwd_script", "plug"] {
            assert_eq!(format!("{:?}", Setting::new(name, "pdu-1")), "\"pdu-1\"", "{name}");
        }
    }
}
