//! Connection URIs as virsh takes them: `driver[+transport]://[user@][host][:port]/path[?option=value&…]`.
//!
//! Only says what was asked for; resolving hosts, sockets and certificates is the transports' work.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

use crate::{error::Error, transport::key_file};

const TCP_PORT: u16 = 16_509;
const TLS_PORT: u16 = 16_514;
const OPTIONS: &str =
    "auth, command, keyfile, name, netcat, no_sanity, no_tty, no_verify, pkipath, proxy, socket, tls_priority";

/// What is wrong with a URI.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UriError {
    /// No `://`.
    #[error("expected driver[+transport]://[user@][host][:port]/path, such as qemu:///system")]
    Shape,
    /// The part after `+` is not a transport we speak.
    #[error("transport {0:?} is not supported; supported are unix, tcp, tls and ssh")]
    Transport(String),
    /// A transport over the network without a host.
    #[error("transport {0} needs a host: qemu+{0}://HOST/system")]
    NoHost(&'static str),
    /// The unix transport with a host.
    #[error(
        "the unix transport is local and takes no host, yet {0:?} is given; use qemu+ssh://, qemu+tls:// or qemu+tcp://"
    )]
    HostOnUnix(String),
    /// The port is no number from 1 to 65535.
    #[error("port {0:?} is no number from 1 to 65535")]
    Port(String),
    /// `/system` or `/session` is missing.
    #[error("path {0:?} is not known; use /system (or /session)")]
    Path(String),
    /// An option that libvirt does not have, or one this client can't honour.
    #[error("option {0:?} is not known; known are {OPTIONS}")]
    Option(String),
    /// An option's value makes no sense.
    #[error("option {option} can't be {value:?}: {expected}")]
    Value {
        /// The option.
        option: String,
        /// The value given.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A percent sign not followed by two hexadecimal digits, or bytes that are no UTF-8.
    #[error("{0:?} is badly percent-encoded")]
    Percent(String),
}

/// A parsed connection URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    text: String,
    /// How to get to the server.
    pub endpoint: Endpoint,
    /// The URI that the server itself opens, such as `qemu:///system`.
    pub name: String,
    /// User for SASL (`user@` on unix, tcp and tls); for ssh it is the login instead.
    pub user: Option<String>,
    /// Authentication asked for by `auth=`.
    pub auth: Auth,
}

/// How to get to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine; without a path, the usual ones of libvirtd and virtqemud.
    Unix {
        /// `socket=`.
        socket: Option<PathBuf>,
        /// `/session`: the user's own daemon.
        session: bool,
    },
    /// Plain TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port, 16509 unless given.
        port: u16,
    },
    /// TLS.
    Tls {
        /// Name or address; must be in the server's certificate.
        host: String,
        /// Port, 16514 unless given.
        port: u16,
        /// `pkipath=`: folder with cacert.pem, clientcert.pem, clientkey.pem.
        pki_path: Option<PathBuf>,
        /// False with `no_verify=1`: the server's certificate is not checked.
        verify: bool,
    },
    /// The system's `ssh`.
    Ssh(Ssh),
}

impl Endpoint {
    /// The file with our private key, if this way takes one; it need not exist.
    pub fn private_key(&self) -> Option<PathBuf> {
        match self {
            Endpoint::Tls { pki_path, .. } => Some(key_file(pki_path.as_deref())),
            Endpoint::Ssh(ssh) => ssh.keyfile.clone(),
            Endpoint::Unix { .. } | Endpoint::Tcp { .. } => None,
        }
    }
}

/// What `qemu+ssh://` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ssh {
    /// Host as ssh takes it (aliases of ssh's configuration work).
    pub host: String,
    /// `:port`.
    pub port: Option<u16>,
    /// `user@`.
    pub user: Option<String>,
    /// `keyfile=`.
    pub keyfile: Option<PathBuf>,
    /// `command=`: the program to run instead of `ssh`.
    pub command: Option<PathBuf>,
    /// `netcat=`: path of nc on the other side; given, it is used instead of virt-ssh-helper.
    pub netcat: Option<String>,
    /// `socket=` on the other side; given, nc is used, as virt-ssh-helper takes none.
    pub socket: Option<String>,
    /// `no_verify=1`: the host's key is not checked.
    pub no_verify: bool,
    /// `proxy=`.
    pub proxy: Proxy,
}

/// How the far end of ssh gets to libvirtd's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proxy {
    /// virt-ssh-helper if it is there, else nc.
    #[default]
    Auto,
    /// `nc -U`.
    Netcat,
    /// virt-ssh-helper.
    Native,
}

/// `auth=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// The first that the server lists.
    #[default]
    ServersChoice,
    /// `auth=sasl` or `auth=sasl.MECHANISM`.
    Sasl {
        /// The mechanism, if one was named.
        mechanism: Option<String>,
    },
    /// `auth=polkit`.
    Polkit,
}

impl Uri {
    /// What to call the other side in messages: host and port, socket, or ssh host.
    pub fn target(&self) -> String {
        match &self.endpoint {
            Endpoint::Unix { socket: Some(path), .. } => path.display().to_string(),
            Endpoint::Unix { socket: None, .. } => "the local libvirtd".to_owned(),
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port, .. } => format!("{host}:{port}"),
            Endpoint::Ssh(ssh) => format!("{} (ssh)", ssh.host),
        }
    }

    /// True if nobody on the way can read along: unix, tls, ssh.
    pub fn is_private(&self) -> bool {
        !matches!(self.endpoint, Endpoint::Tcp { .. })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|source| Error::Uri { uri: text.to_owned(), source })
    }
}

#[derive(Default)]
struct Options {
    ssh: Ssh,
    name: Option<String>,
    pki_path: Option<PathBuf>,
    auth: Auth,
}

fn parse(text: &str) -> Result<Uri, UriError> {
    let (scheme, rest) = text.split_once("://").ok_or(UriError::Shape)?;
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    if driver.is_empty() {
        return Err(UriError::Shape);
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (user, host_port) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let user = user.map(percent_decoded).transpose()?;
    let (host, port) = host_and_port(host_port)?;
    if driver == "qemu" && !matches!(path, "/system" | "/session") {
        return Err(UriError::Path(path.to_owned()));
    }

    let Options { ssh, name, pki_path, auth } = options(query)?;
    let host_for = |transport| if host.is_empty() { Err(UriError::NoHost(transport)) } else { Ok(host.clone()) };
    let endpoint = match transport {
        "" | "unix" if host.is_empty() => {
            Endpoint::Unix { socket: ssh.socket.map(PathBuf::from), session: path == "/session" }
        }
        "unix" => return Err(UriError::HostOnUnix(host)),
        "tcp" => Endpoint::Tcp { host: host_for("tcp")?, port: port.unwrap_or(TCP_PORT) },
        "" | "tls" => {
            let verify = !ssh.no_verify;
            Endpoint::Tls { host: host_for("tls")?, port: port.unwrap_or(TLS_PORT), pki_path, verify }
        }
        "ssh" => Endpoint::Ssh(Ssh { host: host_for("ssh")?, port, user: user.clone(), ..ssh }),
        other => return Err(UriError::Transport(other.to_owned())),
    };
    let name = name.unwrap_or_else(|| format!("{driver}://{path}"));
    Ok(Uri { text: text.to_owned(), endpoint, name, user, auth })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), UriError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(UriError::Shape)?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| match port.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(UriError::Port(port.to_owned())),
    });
    Ok((percent_decoded(host)?, port.transpose()?))
}

fn options(query: &str) -> Result<Options, UriError> {
    let mut options = Options::default();
    for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decoded(value)?;
        let refuse = |expected| UriError::Value { option: option.to_owned(), value: value.clone(), expected };
        let flag = || value.parse::<i32>().map(|number| number != 0).map_err(|_| refuse("expected 0 or 1"));
        match option {
            "socket" => options.ssh.socket = Some(value),
            "keyfile" => options.ssh.keyfile = Some(value.into()),
            "command" => options.ssh.command = Some(value.into()),
            "netcat" => options.ssh.netcat = Some(value),
            "no_verify" => options.ssh.no_verify = flag()?,
            "name" => options.name = Some(value),
            "pkipath" => options.pki_path = Some(value.into()),
            // ssh never gets a terminal from us; certificates are checked by rustls, which also picks the ciphers.
            "no_tty" | "no_sanity" => drop(flag()?),
            "tls_priority" => {}
            "proxy" => {
                options.ssh.proxy = match value.as_str() {
                    "auto" => Proxy::Auto,
                    "netcat" => Proxy::Netcat,
                    "native" => Proxy::Native,
                    _ => return Err(refuse("expected auto, netcat or native")),
                }
            }
            "auth" => {
                options.auth = match value.split_once('.').unwrap_or((&value, "")) {
                    ("polkit", "") => Auth::Polkit,
                    ("sasl", "") => Auth::Sasl { mechanism: None },
                    ("sasl", mechanism) => Auth::Sasl { mechanism: Some(mechanism.to_uppercase()) },
                    _ => return Err(refuse("expected sasl, sasl.MECHANISM or polkit")),
                }
            }
            other => return Err(UriError::Option(other.to_owned())),
        }
    }
    Ok(options)
}

fn percent_decoded(text: &str) -> Result<String, UriError> {
    let refuse = || UriError::Percent(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or_else(refuse)?;
        let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| refuse())?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Uri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn bad(text: &str) -> UriError {
        match text.parse::<Uri>() {
            Err(Error::Uri { source, .. }) => source,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn local_sockets() {
        assert_eq!(good("qemu:///system").endpoint, Endpoint::Unix { socket: None, session: false });
        assert_eq!(good("qemu:///system").name, "qemu:///system");
        let socket = Some(PathBuf::from("/run/a b/s"));
        let uri = good("qemu+unix:///system?socket=/run/a%20b/s");
        assert_eq!(uri.endpoint, Endpoint::Unix { socket, session: false });
        assert_eq!(good("qemu:///session").endpoint, Endpoint::Unix { socket: None, session: true });
        assert_eq!(good("test:///default").name, "test:///default");
    }

    #[test]
    fn tcp_and_tls() {
        assert_eq!(good("qemu+tcp://h1/system").endpoint, Endpoint::Tcp { host: "h1".into(), port: 16_509 });
        assert_eq!(good("qemu+tcp://[fe80::1]:99/system").endpoint, Endpoint::Tcp { host: "fe80::1".into(), port: 99 });
        let uri = good("qemu+tls://ada%40x@h1/system?pkipath=/p&no_verify=1&auth=sasl.scram-sha-256");
        let tls = Endpoint::Tls { host: "h1".into(), port: 16_514, pki_path: Some("/p".into()), verify: false };
        assert_eq!((uri.endpoint, uri.user), (tls, Some("ada@x".into())));
        assert_eq!(uri.auth, Auth::Sasl { mechanism: Some("SCRAM-SHA-256".into()) });
        assert!(matches!(good("qemu://h1/system").endpoint, Endpoint::Tls { verify: true, .. }));
    }

    #[test]
    fn ssh() {
        let uri = good("qemu+ssh://root@h1:2222/system?keyfile=/k&no_verify=1&netcat=/bin/nc&socket=/run/s");
        let Endpoint::Ssh(ssh) = uri.endpoint else { panic!("{uri:?}") };
        let expected = Ssh {
            host: "h1".into(),
            port: Some(2222),
            user: Some("root".into()),
            keyfile: Some("/k".into()),
            netcat: Some("/bin/nc".into()),
            socket: Some("/run/s".into()),
            no_verify: true,
            ..Ssh::default()
        };
        assert_eq!(ssh, expected);
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        assert_eq!(bad("qemu:/system"), UriError::Shape);
        assert_eq!(bad("qemu+tcp:///system"), UriError::NoHost("tcp"));
        assert_eq!(bad("qemu+unix://h1/system"), UriError::HostOnUnix("h1".into()));
        assert_eq!(bad("qemu+libssh2://h1/system"), UriError::Transport("libssh2".into()));
        assert_eq!(bad("qemu+tcp://h1:0/system"), UriError::Port("0".into()));
        assert_eq!(bad("qemu+tcp://h1:x/system"), UriError::Port("x".into()));
        assert_eq!(bad("qemu+tcp://h1/sistem"), UriError::Path("/sistem".into()));
        assert_eq!(bad("qemu+tcp://h1/system?sokcet=/x"), UriError::Option("sokcet".into()));
        assert_eq!(bad("qemu:///system?socket=%zz"), UriError::Percent("%zz".into()));
        assert!(matches!(bad("qemu://h/system?no_verify=yes"), UriError::Value { .. }));
        assert!(matches!(bad("qemu://h/system?auth=krb"), UriError::Value { .. }));
    }
}
