//! Documents that hold: links lead somewhere, named tests and scripts exist, every error code has its page.

use crate::tree::{Source, files, report, root};
use std::{collections::BTreeSet, fs, process::Command};

fn documents() -> Vec<Source> {
    let mut found = files("docs", ".md");
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.push(Source { path: name.to_owned(), text });
    }
    found
}

/// Every piece of `text` between `open` and `close`, on one line.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().flat_map(move |line| line.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0)))
}

#[test]
fn every_link_leads_somewhere() {
    let mut findings = Vec::new();
    for document in documents() {
        let folder = root().join(&document.path);
        let folder = folder.parent().expect("a file has a folder");
        for link in between(&document.text, "](", ")").filter(|link| !link.contains("://")) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !folder.join(path).exists() {
                findings.push(format!("{}: {link}", document.path));
            }
        }
    }
    report(findings, "Mend the link or write the page.");
}

#[test]
fn every_script_a_document_names_exists_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut findings = BTreeSet::new();
    for document in documents() {
        for word in document.text.split(|letter: char| !(letter.is_alphanumeric() || "/_-.".contains(letter))) {
            let word = word.trim_end_matches('.');
            let named = word.strip_prefix("script/").filter(|name| !name.is_empty() && !name.contains('.'));
            if named.is_some()
                && !fs::metadata(root().join(word)).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
            {
                findings.insert(format!("{}: {word}", document.path));
            }
        }
    }
    report(findings.into_iter().collect(), "Scripts named in documents are there and executable.");
}

/// A newcomer who asks what a script does must not find it building, installing or testing.
#[test]
fn every_script_says_what_it_is_for_and_does_nothing_else() {
    let mut findings = Vec::new();
    for entry in fs::read_dir(root().join("script")).expect("script/ is there") {
        let name = entry.expect("an entry of script/").file_name().to_string_lossy().into_owned();
        if name.contains('.') {
            continue; // a part that others read in
        }
        // Without HOME one that does not ask for `--help` ends early.
        let mut script = Command::new(root().join("script").join(&name));
        let said = script.arg("--help").env_clear().env("PATH", "/usr/bin:/bin").output();
        let said = String::from_utf8(said.expect("it runs").stdout).expect("text");
        let lines = said.lines().count();
        if !said.starts_with(&format!("script/{name}")) || lines > 25 {
            findings
                .push(format!("script/{name} --help: {lines} lines, `{}`", said.lines().next().unwrap_or_default()));
        }
    }
    report(findings, "`--help` prints the comment at the head of the script (script/usage.sh).");
}

#[test]
fn the_safety_case_names_tests_that_exist() {
    let case = fs::read_to_string(root().join("docs/safety-case.md")).expect("docs/safety-case.md is there");
    let sources = files("crates", ".rs");
    let is_name =
        |word: &str| word.contains('_') && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let findings = between(&case, "`", "`")
        .filter(|word| is_name(word))
        .filter(|word| !sources.iter().any(|source| source.text.contains(*word)))
        .map(|word| format!("docs/safety-case.md: {word} is nowhere in the sources"))
        .collect();
    report(findings, "A safety case that names what does not exist is worse than none.");
}

/// The four digits after each `mark` in `text`.
fn codes(text: &str, mark: &str) -> impl Iterator<Item = String> {
    let digits = text.split(mark).skip(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.filter(|digits| digits.len() == 4)
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let mut used = BTreeSet::new();
    for source in files("crates", ".rs").iter().filter(|source| !source.is_test()) {
        used.extend(source.code().flat_map(|(_, line)| codes(line, "Code(")));
    }
    let pages: BTreeSet<String> =
        files("docs/errors", ".md").iter().flat_map(|page| codes(&page.path, "/MS")).collect();
    let without_page = used.difference(&pages).map(|code| format!("docs/errors/MS{code}.md is missing"));
    let without_code =
        pages.difference(&used).map(|code| format!("docs/errors/MS{code}.md explains what nothing uses"));
    report(without_page.chain(without_code).collect(), "A page says: meaning, likely causes, what to do.");
}

#[test]
fn every_alarm_has_its_row_in_operating() {
    let text = fs::read_to_string(root().join("docs/operate.md")).expect("docs/operate.md is there");
    let alarms = fs::read_to_string(root().join("crates/model/src/alarm.rs")).expect("the alarms' codes are there");
    let findings = codes(&alarms, ": Code = Code(")
        .filter(|code| !text.contains(&format!("| MS{code} |")))
        .map(|code| format!("MS{code} has no row in docs/operate.md"))
        .collect();
    report(findings, "Say in a row what it says and what to do.");
}

/// A scenario's setup is a configuration but for its `[world]` tables.
fn without_world(block: &str) -> String {
    let mut in_world = false;
    let lines = block.lines().filter(|line| {
        in_world = if line.starts_with('[') { line.starts_with("[world") } else { in_world };
        !in_world
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_configurations_in_documents_load() {
    let mut findings = Vec::new();
    for document in documents() {
        for block in document.text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let whole = block.contains("[site.") && block.contains("[[vm]]");
            if whole && let Err(problems) = mainstay_model::config::load(&document.path, &without_world(block)) {
                findings.push(problems.to_string());
            }
        }
    }
    report(findings, "A configuration that people copy has to be one.");
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md is there");
    assert!(text.contains("\n## Unreleased\n"), "CHANGELOG.md needs a section `## Unreleased`");
}

/// Marks of a merge that was not finished: in code they do not compile, in a document only its readers would find them.
#[test]
fn no_document_holds_the_marks_of_a_merge() {
    let marks = ["<<<<<<<", ">>>>>>>"];
    let marked = |document: &Source| {
        document.text.lines().position(|line| marks.iter().any(|mark| line.starts_with(mark))).map(|line| line + 1)
    };
    let wrong: Vec<String> =
        documents().iter().filter_map(|document| Some(format!("{}:{}", document.path, marked(document)?))).collect();
    assert!(wrong.is_empty(), "marks of a merge: {wrong:#?}");
}
