//! Every input that fuzzing ever found worth keeping, on every run of the tests.

use mainstay_fuzzing::TARGETS;
use std::{fs, path::Path};

/// All of a target's folders together stay below this, so that the repository stays light.
const MOST_BYTES: u64 = 1_000_000;

#[test]
fn each_input_of_the_corpus_is_withstood() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let entries: Vec<_> = fs::read_dir(&folder).expect("each target has a corpus").flatten().collect();
        assert!(!entries.is_empty(), "{} is empty", folder.display());
        for entry in entries {
            let data = fs::read(entry.path()).expect("it can be read");
            bytes += data.len() as u64;
            // Seen if it fails.
            println!("{name} {}", entry.path().display());
            target(&data);
        }
    }
    assert!(bytes < MOST_BYTES, "{bytes} bytes; script/fuzz --shrink makes them fewer");
}
