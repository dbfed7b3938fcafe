//! The options of a fence device, and the keeping of its secrets: what an operator typed as a password is in no log, error
//! or `Debug` output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use mainstay_model::{HIDDEN, Secret, Setting};
use tokio::io::AsyncReadExt;

use crate::Error;

/// Mainstay's own option: the file that holds the password, read at each call and handed to the agent as `password`.
pub const PASSWORD_FILE: &str = "password_file";

/// No password is longer; a wrong path (a disk image, /dev/zero) shall not fill the memory.
const PASSWORD_MAX_BYTES: u64 = 4096;

/// Options of a fence agent by name. `Debug` hides the secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, Setting>);

impl Options {
    /// The value of an option, secrets included: not for any output.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Setting::expose)
    }

    /// Sets an option.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let setting = Setting::new(&name, value);
        self.0.insert(name, setting);
    }

    /// This with one more option.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// All options in order of name, secrets included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// The value of an option as it may be shown.
    pub(crate) fn shown(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Setting::Secret(_)) => HIDDEN.to_owned(),
            other => self.redact(other.map(Setting::expose).unwrap_or_default()),
        }
    }

    /// `text` without the secrets, also where an agent quoted them for a shell, a URL, JSON or XML.
    pub fn redact(&self, text: &str) -> String {
        let secret = |setting: &Setting| match setting {
            Setting::Secret(secret) => Some(spellings(secret.expose())),
            Setting::Plain(_) => None,
        };
        let secrets: BTreeSet<String> = self.0.values().filter_map(secret).flatten().collect();
        let mut longest_first: Vec<_> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// With the password read from its file, as the agent is to have it.
    pub(crate) async fn resolve(&self) -> Result<Options, Error> {
        let mut resolved = self.clone();
        if let Some(path) = resolved.0.remove(PASSWORD_FILE) {
            let path = Path::new(path.expose());
            let password =
                read_password(path).await.map_err(|source| Error::PasswordFile { path: path.to_owned(), source })?;
            resolved.0.insert("password".to_owned(), Setting::Secret(password));
        }
        Ok(resolved)
    }

    /// The lines an agent reads.
    pub(crate) fn to_input(&self, action: &str) -> Result<Secret, Error> {
        let mut input = format!("action={action}\n");
        for (name, value) in &self.0 {
            let value = value.expose();
            if [name.as_str(), value].iter().any(|part| part.contains(['\n', '\r', '\0'])) {
                return Err(Error::Unspeakable { name: name.escape_debug().to_string() });
            }
            input.push_str(&format!("{name}={value}\n"));
        }
        Ok(Secret::new(input))
    }
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for Options {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        pairs.into_iter().fold(Self::default(), |options, (name, value)| options.with(name, value))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.keys().map(|name| (name, self.shown(name)))).finish()
    }
}

fn spellings(secret: &str) -> [String; 5] {
    let in_url = secret.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    [
        secret.to_owned(),
        secret.replace('\'', "'\"'\"'"),
        secret.replace('\\', "\\\\").replace('"', "\\\""),
        in_url.collect(),
        quick_xml::escape::escape(secret).into_owned(),
    ]
}

async fn read_password(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(PASSWORD_MAX_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > PASSWORD_MAX_BYTES {
        let why = format!("it is longer than {PASSWORD_MAX_BYTES} bytes: no password");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    let text: Secret = Secret::new(text);
    Ok(Secret::new(text.expose().trim_end_matches(['\r', '\n'])))
}
