//! What fence agents print.

use mainstay_fence::{Metadata, Options, Target};
use std::time::Duration;

/// An agent's description of itself, and options held against it.
pub fn metadata(data: &[u8]) {
    let Ok(metadata) = Metadata::parse(&String::from_utf8_lossy(data)) else { return };
    assert!(!metadata.actions.is_empty());
    let _ = metadata.plug_parameter();
    let given = metadata.parameters.keys().map(|name| (name.as_str(), "1")).chain([("no-such-option", "x")]);
    for problem in metadata.check(&given.collect::<Options>(), Duration::from_secs(20)) {
        assert!(!problem.to_string().is_empty());
    }
}

/// An agent's output: the first line is a secret, which must be gone from what is shown of the rest.
pub fn output(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (secret, said) = text.split_once('\n').unwrap_or(("", &text));
    let shown = [("password", secret), ("ip", "10.0.0.1")].into_iter().collect::<Options>().redact(said);
    // A secret of few letters may be part of the word that stands for secrets.
    if secret.len() > 8 {
        assert!(!shown.contains(secret), "a password is shown");
    }
    for target in Target::list(said, ",") {
        assert!(!target.plug.is_empty() || said.contains(','));
    }
}
