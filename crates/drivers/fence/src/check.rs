//! Whether the options of a device are such as its agent understands: for `config check`, before a host depends on it.

use std::time::Duration;

use crate::{Metadata, Options, PASSWORD_FILE, ValueType, waits};

/// Below this similarity (Jaro-Winkler) a name is no likely misspelling of another.
const LIKELY: f64 = 0.75;

/// Options that Mainstay itself sets at each call.
const OWN: [&str; 2] = ["action", "nodename"];

/// One thing wrong with the options of a fence device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The agent has no such option: it would ignore it.
    #[error("unknown option `{name}`{}", nearest.as_ref().map_or(String::new(), |nearest| format!(": did you mean `{nearest}`?")))]
    Unknown {
        /// The option.
        name: String,
        /// The valid name most like it.
        nearest: Option<String>,
    },
    /// An option without which the agent refuses to work.
    #[error("option `{name}` is required")]
    Missing {
        /// The option.
        name: String,
    },
    /// A value of the wrong kind.
    #[error("option `{name}` must be {expected}, not `{found}`")]
    WrongType {
        /// The option.
        name: String,
        /// What it must be.
        expected: String,
        /// What it is; hidden if secret.
        found: String,
    },
    /// It works, but has a newer name.
    #[error("option `{name}` is deprecated{}", instead.as_ref().map_or(String::new(), |new| format!(": use `{new}`")))]
    Deprecated {
        /// The option.
        name: String,
        /// The newer name.
        instead: Option<String>,
    },
    /// Mainstay sets it.
    #[error("option `{name}` is set by Mainstay at each call: remove it")]
    Reserved {
        /// The option.
        name: String,
    },
    /// The agent would be killed before it has switched.
    #[error(
        "the agent waits {waits} s by itself ({by}), but each of its calls is killed after `timeout`, {timeout} s: it could \
         never switch a host off; set `timeout` to {needed}s or more, or let it wait less{}",
        if *delay { " (Mainstay has a `delay` of its own)" } else { "" }
    )]
    TooSlow {
        /// The longest wait, which the message points at.
        name: String,
        /// All waits together, in seconds.
        waits: u64,
        /// The waits as an operator writes them.
        by: String,
        /// Our bound, in seconds.
        timeout: u64,
        /// The least bound that would do, in seconds.
        needed: u64,
        /// Whether `delay` is one of them.
        delay: bool,
    },
    /// The agent may be killed while it still waits for its device.
    #[error(
        "option `{name}` lets the agent wait up to {waits} s{}, but each of its calls is killed after `timeout`, {timeout} s: \
         a slow device would seem dead", if *preset { " (its own default)" } else { "" }
    )]
    Cut {
        /// The option.
        name: String,
        /// The time, in seconds, with its repetitions.
        waits: u64,
        /// Our bound, in seconds.
        timeout: u64,
        /// True if the operator did not set it.
        preset: bool,
    },
    /// The agent would say `off` of a host that its device does not know.
    #[error("option `{name}` makes a misspelt plug count as off, which is no proof: remove it")]
    MissingAsOff {
        /// The option.
        name: String,
    },
    /// The agent cannot do what fencing needs.
    #[error("the agent has no action `{action}`: {consequence}")]
    NoAction {
        /// The missing action.
        action: &'static str,
        /// What follows from that.
        consequence: &'static str,
    },
}

impl Problem {
    /// Whether fencing works nevertheless.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::Deprecated { .. } | Self::Cut { .. })
    }

    /// The option it is about, to point at in the configuration.
    pub fn option(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. }
            | Self::Missing { name }
            | Self::WrongType { name, .. }
            | Self::Deprecated { name, .. }
            | Self::TooSlow { name, .. }
            | Self::Cut { name, .. }
            | Self::MissingAsOff { name }
            | Self::Reserved { name } => Some(name),
            Self::NoAction { .. } => None,
        }
    }
}

impl Metadata {
    /// All that is wrong with `options`, in order of name; then what is missing, then waits that end beyond `timeout`, the
    /// bound of one call. Empty is good.
    pub fn check(&self, options: &Options, timeout: Duration) -> Vec<Problem> {
        let given = options.iter().filter_map(|(name, value)| self.check_option(options, name, value));
        let missing = self.parameters.iter().filter(|(name, parameter)| {
            let names = [Some(*name), parameter.obsoletes.as_ref()];
            parameter.required
                && parameter.default.is_none()
                && !parameter.deprecated
                && !names.into_iter().flatten().any(|name| options.get(name).is_some() || OWN.contains(&name.as_str()))
        });
        let missing = missing.map(|(name, _)| Problem::Missing { name: name.clone() });
        let actions = [
            ("off", "it cannot fence"),
            ("status", "it cannot tell whether a host is off, so that nothing it does counts as fenced"),
        ];
        let actions = actions.into_iter().filter(|(action, _)| !self.actions.contains(*action));
        let actions = actions.map(|(action, consequence)| Problem::NoAction { action, consequence });
        given.chain(missing).chain(waits::check(self, options, timeout)).chain(actions).collect()
    }

    fn check_option(&self, options: &Options, name: &str, value: &str) -> Option<Problem> {
        if OWN.contains(&name) {
            return Some(Problem::Reserved { name: name.to_owned() });
        }
        if name == PASSWORD_FILE && self.parameters.contains_key("password") {
            return None;
        }
        let Some(parameter) = self.parameters.get(name) else {
            return Some(Problem::Unknown { name: name.to_owned(), nearest: self.nearest(name) });
        };
        if let Some(expected) = parameter.value.refuses(value) {
            return Some(Problem::WrongType { name: name.to_owned(), expected, found: options.shown(name) });
        }
        if name == "missing_as_off" && waits::is_yes(value) {
            return Some(Problem::MissingAsOff { name: name.to_owned() });
        }
        let newer = || self.parameters.iter().find(|(_, newer)| newer.obsoletes.as_deref() == Some(name));
        parameter
            .deprecated
            .then(|| Problem::Deprecated { name: name.to_owned(), instead: newer().map(|(new, _)| new.clone()) })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let current = self.parameters.iter().filter(|(_, parameter)| !parameter.deprecated).map(|(known, _)| known);
        let likely =
            current.map(|known| (strsim::jaro_winkler(known, name), known)).filter(|(like, _)| *like >= LIKELY);
        likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known.clone())
    }
}

impl ValueType {
    /// What the value should have been, if it is not.
    fn refuses(&self, value: &str) -> Option<String> {
        let number = value.parse::<i64>();
        let (good, expected) = match self {
            Self::Text => (true, String::new()),
            Self::Integer => (number.is_ok(), "a whole number".to_owned()),
            Self::Seconds => (number.is_ok_and(|seconds| seconds >= 0), "a number of seconds".to_owned()),
            Self::Boolean => {
                let spellings = ["1", "yes", "on", "true", "0", "no", "off", "false"];
                (spellings.contains(&value.to_lowercase().as_str()), "yes or no".to_owned())
            }
            Self::Select(choices) => (
                choices.is_empty() || choices.iter().any(|choice| choice == value),
                format!("one of {}", choices.join(", ")),
            ),
        };
        (!good).then_some(expected)
    }
}
