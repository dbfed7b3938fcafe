//! What an agent's answer to `status` means.
//!
//! Exit code 2 alone proves nothing: it is also the code of a usage error (Python's argparse), of a syntax error in a shell
//! script, and of programs an agent calls (`grep`, `ls`). The host is off only if the agent also printed that it is off, as the
//! agents of the fence-agents family do: `Status: OFF`.
//!
//! | code  | printed      | meaning                                          |
//! |-------|--------------|--------------------------------------------------|
//! | 0     | on, or none  | on: the safe reading, nothing is started elsewhere |
//! | 2     | off          | off                                              |
//! | 0, 2  | the opposite | no answer: the two contradict each other         |
//! | 2     | none         | no answer                                        |
//! | other | anything     | no answer: the agent failed                      |

use crate::device::PowerState;
use crate::{Agent, Error, Output};

const CODE_ON: i32 = 0;
const CODE_OFF: i32 = 2;

/// An answer to `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The state.
    pub state: PowerState,
    /// False if only the exit code says so. Such an agent can never prove that a host is off.
    pub in_words: bool,
}

/// Reads the answer to `status`.
pub(crate) fn read(agent: &Agent, output: &Output) -> Result<Answer, Error> {
    let unclear = |problem| Err(agent.unclear(output, problem));
    match (output.code, printed(&output.stdout)) {
        (Some(CODE_ON), Printed::On) => Ok(Answer { state: PowerState::On, in_words: true }),
        (Some(CODE_ON), Printed::Neither) => Ok(Answer { state: PowerState::On, in_words: false }),
        (Some(CODE_OFF), Printed::Off) => Ok(Answer { state: PowerState::Off, in_words: true }),
        (Some(CODE_OFF), Printed::Neither) => {
            unclear("which an agent also gives for other reasons, and it did not print `Status: OFF`")
        }
        (Some(CODE_ON | CODE_OFF), _) => unclear("and what it printed contradicts that"),
        _ => Err(agent.failed("status", output)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Printed {
    On,
    Off,
    Both,
    Neither,
}

/// Only whole lines count, `Status: OFF` or `off`: a sentence may end with that word and mean something else.
fn printed(stdout: &str) -> Printed {
    let states = stdout.lines().map(|line| {
        let line = line.trim().to_ascii_lowercase();
        line.strip_prefix("status:").map_or(line.clone(), |state| state.trim().to_owned())
    });
    let (mut on, mut off) = (false, false);
    for state in states {
        on |= state == "on";
        off |= state == "off";
    }
    match (on, off) {
        (true, true) => Printed::Both,
        (true, false) => Printed::On,
        (false, true) => Printed::Off,
        (false, false) => Printed::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_says_a_state() {
        for (stdout, expected) in [
            ("Status: OFF\n", Printed::Off),
            ("DeprecationWarning: pipes\nStatus: OFF", Printed::Off),
            ("off", Printed::Off),
            ("status:on\r\n", Printed::On),
            ("Status: ON\nStatus: OFF\n", Printed::Both),
            ("", Printed::Neither),
            ("cannot tell whether it is off\n", Printed::Neither),
            ("usage: fence_x [-h] --plug PLUG --power {on,off}\n", Printed::Neither),
            ("Status: UNKNOWN\n", Printed::Neither),
        ] {
            assert_eq!(printed(stdout), expected, "{stdout:?}");
        }
    }
}
