//! The options of a fence device, and the keeping of its secrets: what an operator typed as a password is in no log, error
//! or `Debug` output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use tokio::io::AsyncReadExt;

use crate::Error;

/// Mainstay's own option: the file that holds the password, read at each call and handed to the agent as `password`.
pub const PASSWORD_FILE: &str = "password_file";

/// No password is longer; a wrong path (a disk image, /dev/zero) shall not fill the memory.
const PASSWORD_MAX_BYTES: u64 = 4096;

const HIDDEN: &str = "***";

/// Names of options holding these are secrets (passwd, snmp_priv_passwd, secret_key, apikey, community, hexadecimal_kg, …).
const SECRET_MARKS: [&str; 8] = ["passw", "secret", "token", "apikey", "api_key", "access_key", "community", "_kg"];

/// Options of a fence agent by name. `Debug` hides the secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The value of an option, secrets included: not for any output.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets an option.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// This with one more option.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// All options in order of name, secrets included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of an option as it may be shown.
    pub(crate) fn shown(&self, name: &str) -> String {
        if is_secret(name) { HIDDEN.to_owned() } else { self.redact(self.get(name).unwrap_or_default()) }
    }

    /// `text` without the secrets, also where an agent quoted them for a shell, a URL, JSON or XML.
    pub fn redact(&self, text: &str) -> String {
        let secrets: BTreeSet<String> =
            self.0.iter().filter(|(name, _)| is_secret(name)).flat_map(|(_, value)| spellings(value)).collect();
        let mut longest_first: Vec<_> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// With the password read from its file, as the agent is to have it.
    pub(crate) async fn resolve(&self) -> Result<Options, Error> {
        let mut resolved = self.clone();
        if let Some(path) = resolved.0.remove(PASSWORD_FILE) {
            let password = read_password(Path::new(&path))
                .await
                .map_err(|source| Error::PasswordFile { path: path.into(), source })?;
            resolved.set("password", password);
        }
        Ok(resolved)
    }

    /// The lines an agent reads.
    pub(crate) fn to_input(&self, action: &str) -> Result<String, Error> {
        let mut input = format!("action={action}\n");
        for (name, value) in &self.0 {
            if [name, value].iter().any(|part| part.contains(['\n', '\r', '\0'])) {
                return Err(Error::Unspeakable { name: name.escape_debug().to_string() });
            }
            input.push_str(&format!("{name}={value}\n"));
        }
        Ok(input)
    }
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for Options {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.keys().map(|name| (name, self.shown(name)))).finish()
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    !name.ends_with("_script") && !name.ends_with("_file") && SECRET_MARKS.iter().any(|mark| name.contains(mark))
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

async fn read_password(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(PASSWORD_MAX_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > PASSWORD_MAX_BYTES {
        let why = format!("it is longer than {PASSWORD_MAX_BYTES} bytes: no password");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
