//! The HTTP API as a program meets it: who is let in, what it gets, what it is told when it is wrong.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::*;
use mainstay_model::{Actor, HostId, Role};
use mainstay_web::{ListenError, Listeners, Tls, Token};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A raw exchange over the socket: status line, headers and body as text.
fn exchange(server: &Server, method: &str, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(server.folder.path().join("api.sock")).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_socket_is_for_owner_and_group_only() {
    let server = Server::start(Fixed::new(well()));
    let mode = fs::metadata(server.folder.path().join("api.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn over_tcp_the_token_decides() {
    let server = Server::start_with(Fixed::new(well()), vec![token("ci", Role::Read)], None);
    let address = fs::read_to_string(server.folder.path().join("address")).unwrap();
    let status = |token: &str| mainstay(&["status", "--api", &address], &[("MAINSTAY_TOKEN", token)]);
    assert_eq!(status(SECRET).exit, 0, "{:?}", status(SECRET));
    for wrong in ["", "0123456789abcdef0123456789abcdeX"] {
        let refused = status(wrong);
        assert!(refused.exit == 1 && refused.stderr.contains("MS1504"), "{refused:?}");
        assert!(!refused.stdout.contains("web-1") && !refused.stderr.contains(SECRET), "{refused:?}");
    }
    assert!(Token::new("ci", Role::Read, "short").is_err());
}

fn token(name: &str, role: Role) -> Token {
    Token::new(name, role, SECRET).unwrap()
}

#[test]
fn who_asked_is_on_record_and_a_role_limits_what_is_asked() {
    let (host, acknowledge) = (HostId::from("h1"), ["vm", "start", "web-2"]);
    for (role, operates, administers) in
        [(Role::Read, false, false), (Role::Operate, true, false), (Role::Administer, true, true)]
    {
        let fixed = Fixed::new(well());
        let server = Server::start_with(fixed.clone(), vec![token("night-shift", role)], None);
        let address = fs::read_to_string(server.folder.path().join("address")).unwrap();
        let run =
            |words: &[&str]| mainstay(&[words, &["--yes", "--api", &address]].concat(), &[("MAINSTAY_TOKEN", SECRET)]);
        assert_eq!(run(&["host", "list"]).exit, 0);
        for (words, may) in [
            (&acknowledge[..], operates),
            (&["host", "fence-test", "h1"], operates),
            (&["host", "confirm-off", host.as_str()], administers),
            (&["host", "fence-test", "h1", "--live"], administers),
            (&["config", "reload"], administers),
        ] {
            let ran = run(words);
            let refused = ran.stderr.contains("MS1506") && ran.stderr.contains("`night-shift` may");
            assert_eq!(refused, !may, "{role}: {words:?}: {ran:?}");
        }
        let names: Vec<String> = fixed.by.lock().unwrap().iter().map(ToString::to_string).collect();
        let commands = usize::from(operates) + 2 * usize::from(administers);
        assert_eq!(names, vec!["night-shift"; commands], "{role}");
    }
    let fixed = Fixed::new(well());
    let server = Server::start(fixed.clone());
    assert_eq!(server.run(&["vm", "start", "web-2"]).exit, 0);
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let by = fixed.by.lock().unwrap().clone();
    assert_eq!(by, [Actor::new(&String::from_utf8(user).unwrap())], "over the socket the process's user counts");
}

/// A certificate for 127.0.0.1 in a folder, which signs itself.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=controller", "-addext", "subjectAltName=IP:127.0.0.1", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

#[test]
fn over_tls_the_certificate_decides_whom_the_token_is_sent_to() {
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pem, key) = certificate(ours.path());
    let (stranger, strange_key) = certificate(other.path());
    assert!(Tls::server(&pem, &strange_key).is_err(), "the key is another one's");
    let tls = Tls::server(&pem, &key).unwrap();
    let server = Server::start_with(Fixed::new(well()), vec![token("ci", Role::Read)], Some(tls));
    let address = fs::read_to_string(server.folder.path().join("address")).unwrap();
    let url = format!("https://{address}");
    let status = |api: &str, trusted: &Path| {
        let words = ["status", "--api", api, "--api-ca", trusted.to_str().unwrap()];
        mainstay(&words, &[("MAINSTAY_TOKEN", SECRET)])
    };
    assert_eq!(status(&url, &pem).exit, 0, "{:?}", status(&url, &pem));
    let strange = status(&url, &stranger);
    assert!(strange.exit == 4 && strange.stderr.contains("no TLS: --api-ca does not vouch"), "{strange:?}");
    let clear = status(&address, &pem);
    assert!(clear.exit == 4 && !clear.stdout.contains("web-1"), "in clear nothing answers: {clear:?}");
    let nothing = mainstay(&["status", "--api", &url], &[("MAINSTAY_TOKEN", SECRET)]);
    assert!(nothing.exit == 2 && nothing.stderr.contains("--api-ca"), "{nothing:?}");
    let far = mainstay(&["status", "--api", "192.0.2.1:7710"], &[("MAINSTAY_TOKEN", SECRET)]);
    assert!(far.exit == 2 && far.stderr.contains("https://192.0.2.1:7710"), "{far:?}");
}

#[tokio::test]
async fn beyond_this_machine_nothing_is_served_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    for (number, address) in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"].into_iter().enumerate() {
        let socket = folder.path().join(number.to_string());
        let listeners = Listeners::unix(&socket).unwrap();
        let refused = listeners.and_tcp(address.parse().unwrap(), vec![token("ci", Role::Read)], None).await;
        assert!(matches!(refused, Err(ListenError::InClear(_))), "{address}");
    }
}

/// Without a token, connections are held only for the time of a request's head, and only so many.
#[test]
fn who_says_nothing_does_not_keep_others_out() {
    let server = Server::start_with(Fixed::new(well()), vec![token("ci", Role::Read)], None);
    let address = fs::read_to_string(server.folder.path().join("address")).unwrap();
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut half = TcpStream::connect(&address).unwrap();
    half.write_all(b"GET /v1/cluster HTTP/1.1\r\nX-Slow: ").unwrap();
    // The command line waits 15 s for an answer; silent connections are closed after 10 s.
    let ran = mainstay(&["status", "--api", &address], &[("MAINSTAY_TOKEN", SECRET)]);
    let again = || mainstay(&["status", "--api", &address], &[("MAINSTAY_TOKEN", SECRET)]);
    assert!(ran.exit == 0 || again().exit == 0, "{ran:?}");
    let over_socket = server.run(&["status"]);
    assert_eq!(over_socket.exit, 0, "the socket has places of its own");
    drop(silent);
}

#[test]
fn every_answer_says_how_old_it_is_and_who_leads() {
    let server = Server::start(Fixed { last_step: ago(3), ..Fixed::new(well()) });
    for path in ["cluster", "hosts", "hosts/h1", "vms", "vms/web-1", "vms/web-1/points", "stats", "alarms", "incidents"]
    {
        let answer = exchange(&server, "GET", &format!("/v1/{path}"), "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((body["version"].as_u64(), body["age_ms"].as_u64()), (Some(1), Some(3_000)), "{path}");
        assert_eq!(body["leader"]["name"], "lab", "{path}");
    }
}

#[test]
fn data_that_is_too_old_is_not_shown_as_true() {
    let server = Server::start(Fixed { last_step: ago(60), ..Fixed::new(well()) });
    let ran = server.run(&["status"]);
    assert!(ran.exit == 4 && ran.stdout.is_empty() && ran.stderr.contains("1m 0s old"), "{ran:?}");
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let server = Server::start(Fixed::new(well()));
    for (method, path, body, status, code) in [
        ("GET", "/v1/tea", "", "404", "MS1502"),
        ("GET", "/v1/vms/web-9", "", "404", "MS1502"),
        ("GET", "/v1/incidents/tea", "", "400", "MS1503"),
        ("GET", "/v1/events?sinse=1", "", "400", "MS1503"),
        ("POST", "/v1/commands", "{", "400", "MS1503"),
        ("POST", "/v1/commands", r#"{"command":"tea"}"#, "400", "MS1503"),
        ("POST", "/v1/commands", r#"{"command":"fence_host","host":"h1"}"#, "409", "MS1505"),
        ("POST", "/v1/reload", "{}", "409", "MS1401"),
    ] {
        let answer = exchange(&server, method, path, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{path}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")) && answer.contains("\"help\":\""), "{path}: {answer}");
    }
}

#[test]
fn the_stream_begins_with_how_things_are() {
    let server = Server::start(Fixed::new(trouble()));
    let mut stream = UnixStream::connect(server.folder.path().join("api.sock")).unwrap();
    write!(stream, "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut read = String::new();
    let mut part = [0; 4096];
    while !read.contains("\n\n") {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{read}");
        read.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    assert!(read.contains("text/event-stream") && read.contains("event: view\ndata: {\"version\":1"), "{read}");
}

#[test]
fn a_wrong_token_and_none_are_told_apart() {
    let server = Server::start_with(Fixed::new(well()), vec![token("ci", Role::Read)], None);
    let address = std::fs::read_to_string(server.folder.path().join("address")).unwrap();
    let ran = |environment: &[(&str, &str)]| mainstay(&["status", "--api", &address], environment);
    let none = ran(&[]);
    assert!(none.exit == 1 && none.stderr.contains("put the controller's token into MAINSTAY_TOKEN"), "{none:?}");
    let wrong = ran(&[("MAINSTAY_TOKEN", "fedcba9876543210")]);
    assert!(wrong.exit == 1 && wrong.stderr.contains("does not know the token in MAINSTAY_TOKEN"), "{wrong:?}");
    assert_eq!(ran(&[("MAINSTAY_TOKEN", SECRET)]).exit, 0);
}
