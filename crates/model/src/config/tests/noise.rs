//! No text makes the parser panic, and every problem has a place in the text.

use super::super::edit::{NewHost, add_host, remove_host};
use super::super::{Loaded, Problems, example, load};
use proptest::prelude::*;

fn survives(text: &str) {
    match load("noise.toml", text) {
        Ok(loaded) => can_be_edited(text, &loaded),
        Err(problems) => have_their_places(text, &problems),
    }
}

fn have_their_places(text: &str, problems: &Problems) {
    let lines = text.matches('\n').count() + 1;
    assert!(problems.iter().count() > 0);
    for problem in problems.iter() {
        assert!((1..=lines).contains(&problem.line), "{problem:?}");
    }
    let graphical = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    graphical.render_report(&mut String::new(), problems).unwrap();
}

fn can_be_edited(text: &str, loaded: &Loaded) {
    let site = loaded.spec.sites.keys().next().expect("`site` is required").to_string();
    let host = NewHost { name: "new".into(), site, ..NewHost::default() };
    let Ok(more) = add_host("noise.toml", text, &host) else { return };
    assert!(load("noise.toml", &more).unwrap().spec.hosts.contains_key("new"), "{more}");
    let less = remove_host("noise.toml", &more, "new").expect("nothing speaks of it");
    assert_eq!(load("noise.toml", &less).unwrap().spec.hosts.len(), loaded.spec.hosts.len(), "{less}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn text_that_looks_like_toml(text in "([\\[\\]{}=,.\"'# \n]|vm|match|site|host|h1|fence|on|hung|1|-1|2s|true){0,60}") {
        survives(&text);
    }

    #[test]
    fn the_example_with_a_wound(from in 0..10_000usize, length in 0..40usize, noise in "[\\[\\]{}=,.\"' \na1é]{0,4}") {
        let mut text: Vec<char> = example().chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, noise.chars());
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn the_example_with_lines_in_another_order(from in 0..300usize, to in 0..300usize) {
        let mut lines: Vec<&str> = example().lines().collect();
        let (from, to) = (from % lines.len(), to % lines.len());
        lines.swap(from, to);
        survives(&lines.join("\n"));
    }
}
