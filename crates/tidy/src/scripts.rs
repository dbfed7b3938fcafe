//! Scripts that run something long: it ends with them.

use std::{
    fs,
    process::{Command, Stdio},
};

/// Of `script/progress.sh`: a command that it watches is ended when the script is, by Ctrl-C or otherwise. Debian's `sh` takes a process
/// group after `kill -s TERM --` only; with `kill -TERM --` a build went on for minutes after its script was ended, and wrote into the log of
/// the next one.
#[test]
fn what_a_script_watches_ends_with_it() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let folder = std::env::temp_dir().join(format!("mainstay-tidy-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    let begun = folder.join("begun");
    assert!(Command::new("mkfifo").arg(&begun).status().expect("mkfifo is there").success());
    let watches = r#"cd "$1"; . script/progress.sh; watched it "$2/log" sh -c 'echo begun >"$0/begun"; sleep 20; echo late >"$0/late"' "$2""#;
    let mut script = Command::new("sh")
        .args(["-c", watches, "sh", root])
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("sh is there");
    assert_eq!(fs::read_to_string(&begun).expect("written when it has begun"), "begun\n");
    let ended = Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &script.id().to_string()]).status();
    assert!(ended.expect("sh is there").success());
    let status = script.wait().expect("it was begun");
    let late = folder.join("late").exists();
    fs::remove_dir_all(&folder).expect("made above");
    assert_eq!((status.code(), late), (Some(130), false), "what it watched went on");
}
