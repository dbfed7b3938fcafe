//! The HTTP API as a program meets it: who is let in, what it gets, what it is told when it is wrong.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::*;
use mainstay_web::Token;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
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
    let server = Server::start_with(Fixed::new(well()), Some(Token::new(SECRET).unwrap()));
    let address = fs::read_to_string(server.folder.path().join("address")).unwrap();
    let status = |token: &str| mainstay(&["status", "--api", &address], &[("MAINSTAY_TOKEN", token)]);
    assert_eq!(status(SECRET).exit, 0, "{:?}", status(SECRET));
    for wrong in ["", "0123456789abcdef0123456789abcdeX"] {
        let refused = status(wrong);
        assert!(refused.exit == 1 && refused.stderr.contains("MS1504"), "{refused:?}");
        assert!(!refused.stdout.contains("web-1") && !refused.stderr.contains(SECRET), "{refused:?}");
    }
    assert!(Token::new("short").is_err());
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
    let token = Token::new("0123456789abcdef").unwrap();
    let server = Server::start_with(Fixed::new(well()), Some(token));
    let address = std::fs::read_to_string(server.folder.path().join("address")).unwrap();
    let ran = |environment: &[(&str, &str)]| mainstay(&["status", "--api", &address], environment);
    let none = ran(&[]);
    assert!(none.exit == 1 && none.stderr.contains("put the controller's token into MAINSTAY_TOKEN"), "{none:?}");
    let wrong = ran(&[("MAINSTAY_TOKEN", "fedcba9876543210")]);
    assert!(wrong.exit == 1 && wrong.stderr.contains("does not know the token in MAINSTAY_TOKEN"), "{wrong:?}");
    assert_eq!(ran(&[("MAINSTAY_TOKEN", "0123456789abcdef")]).exit, 0);
}
