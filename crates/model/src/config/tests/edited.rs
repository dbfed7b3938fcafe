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
fn comments_that_are_not_about_a_removed_host_stay() {
    let text = "[site.a.libvirt]\n\n# The hosts.\n\n# The first.\n[site.a.host.h1]\nrevive.within = \"1s\"\n\n\
                [site.a.host.h2] # the second\n\n# The end.\n";
    let without_first = "[site.a.libvirt]\n\n# The hosts.\n\n[site.a.host.h2] # the second\n\n# The end.\n";
    assert_eq!(remove_host(FILE, text, "h1").unwrap(), without_first);
    let without_second = remove_host(FILE, text, "h2").unwrap();
    assert!(without_second.contains("# The hosts.") && without_second.ends_with("\n# The end.\n"), "{without_second}");
}

#[test]
fn hosts_written_in_one_line_are_edited_there() {
    let host = NewHost { name: "h2".into(), site: "a".into(), spare: true, ..NewHost::default() };
    for (text, added) in [
        (
            "[site.a]\nlibvirt = {}\nhost.h1 = {}\n",
            "[site.a]\nlibvirt = {}\nhost.h1 = {}\nhost.h2 = { spare = true }\n",
        ),
        (
            "[site.a]\nlibvirt = {}\nhost = { h1 = {} }\n",
            "[site.a]\nlibvirt = {}\nhost = { h1 = {} , h2 = { spare = true } }\n",
        ),
        (
            "[site.a]\r\nlibvirt = {}\r\n[site.a.host.h1.revive]\r\n",
            "[site.a]\r\nlibvirt = {}\r\n[site.a.host.h1.revive]\r\n\r\n[site.a.host.h2]\r\nspare = true\r\n",
        ),
    ] {
        assert_eq!(add_host(FILE, text, &host).unwrap(), added);
        assert!(!loaded(&remove_host(FILE, added, "h1").unwrap()).spec.hosts.contains_key("h1"));
    }
}

#[test]
fn a_removed_host_leaves_its_plugs_at_fence_devices() {
    let text =
        format!("{}\n[fence.bmc-4]\nagent = 'x'\nplug = {{ h4 = '4', h1 = '1' }}\n[site.paris.host.h4]\n", example());
    let text = remove_host(FILE, &text, "h4").unwrap();
    assert!(text.contains("plug = { h1 = '1' }"), "{text}");
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
