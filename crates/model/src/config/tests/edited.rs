//! Hosts added to and removed from a user's file.

use super::super::edit::{EditError, NewHost, add_host, remove_host};
use super::super::example;
use super::loaded;

const FILE: &str = "mainstay.toml";

#[test]
fn an_added_host_stands_after_the_last_and_all_else_stays() {
    let host = NewHost {
        name: "h4".into(),
        site: "paris".into(),
        address: Some("10.77.0.14".into()),
        fence: vec!["bmc-1".into()],
        ..NewHost::default()
    };
    let text = add_host(FILE, example(), &host).unwrap();
    let added = "\n[site.paris.host.h4]\naddress = \"10.77.0.14\"\nfence = [[\"bmc-1\"]]\n";
    let at = text.find(added).expect(&text);
    assert!(at > text.find("[site.paris.host.h3]").unwrap() && at < text.find("[fence.bmc-1]").unwrap(), "{text}");
    assert_eq!(text.replacen(added, "", 1), example());
    assert_eq!(loaded(&text).spec.hosts["h4"].uri, "qemu+tcp://10.77.0.14/system");
}

#[test]
fn a_removed_host_takes_only_its_own_table() {
    let host = NewHost { name: "h4".into(), site: "paris".into(), ..NewHost::default() };
    let text = add_host(FILE, example(), &host).unwrap();
    assert_eq!(remove_host(FILE, &text, "h4").unwrap(), example());
}

#[test]
fn a_host_that_rules_speak_of_is_not_removed() {
    let Err(EditError::WouldBreak(problems)) = remove_host(FILE, example(), "h2") else {
        panic!("h2 is preferred by db-*")
    };
    assert_eq!(problems.iter().next().unwrap().message, "there is no host `h2`");
}

#[test]
fn mistakes_are_named() {
    let host = NewHost { name: "h1".into(), site: "pari".into(), ..NewHost::default() };
    let told = |result: Result<String, EditError>| result.unwrap_err().to_string();
    assert_eq!(told(add_host(FILE, example(), &host)), "there is no site `pari`; did you mean `paris`?");
    let host = NewHost { site: "paris".into(), ..host };
    assert_eq!(told(add_host(FILE, example(), &host)), "host `h1` exists already, in site `paris`");
    assert_eq!(told(remove_host(FILE, example(), "h11")), "there is no host `h11`; did you mean `h1`?");
    assert!(matches!(add_host(FILE, "[cluser]", &host), Err(EditError::Broken(_))));
}
