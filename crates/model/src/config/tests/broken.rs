//! What users are told of broken configurations. Each `broken/NAME.toml` has its golden text beside it, to be read as
//! prose; `UPDATE=1 cargo test -p mainstay-model` writes it anew.

use super::super::load;
use super::refused;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use std::{fs, path::Path};

#[test]
fn broken_files_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/broken");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 12);
    let mut wrong = vec![];
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let golden = path.with_extension("txt");
        let told = explained(&text);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As `mainstay config check` shows it.
fn explained(text: &str) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut told = String::new();
    let mut show = |problem: &dyn Diagnostic| handler.render_report(&mut told, problem).unwrap();
    match load("mainstay.toml", text) {
        Err(problems) => problems.iter().for_each(|problem| show(problem)),
        Ok(loaded) => loaded.warnings.iter().for_each(|problem| show(problem)),
    }
    told.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn problems_as_json_have_their_place() {
    let problems = refused("[site.a]\nlibvirt = {}\nhosts = {}\n");
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!(
        json[1],
        serde_json::json!({
            "severity": "error",
            "code": "MS1403",
            "file": "mainstay.toml",
            "line": 3,
            "column": 1,
            "message": "`site.a` has no key `hosts`",
            "help": "did you mean `host`?",
        })
    );
    assert_eq!(problems.to_string(), "mainstay.toml has 2 errors");
}

/// Places were once counted from the beginning of the file, for each of its errors.
#[test]
fn another_file_is_told_by_its_first_errors() {
    let log = "Nov 20 12:00:00 h1 kernel: all is well\n".repeat(50_000);
    let problems = refused(&log);
    assert_eq!(problems.iter().count(), 101);
    let last = problems.iter().last().unwrap();
    assert_eq!(last.line, 50_001);
    assert!(
        last.message.starts_with("this is not TOML in ") && last.help.starts_with("is it the right file?"),
        "{last:?}"
    );
}
