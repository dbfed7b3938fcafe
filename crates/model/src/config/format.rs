//! Formats of texts: what is written, a pattern for editors, and the check.

use super::nearest::{nearest, suggest};
use crate::spec::{LadderStep, Rung};
use crate::{Code, Network, Span};
use std::net::{IpAddr, SocketAddr};

/// A format of texts.
#[derive(Debug)]
pub struct Format {
    /// What it is, as the end of "expected …".
    pub what: &'static str,
    /// An ECMA regular expression for editors; empty: any text.
    pub pattern: &'static str,
    /// Why the text is not of this format, as a help for who wrote it.
    pub check: fn(&str) -> Result<(), String>,
}

const SPAN_PATTERN: &str = r"^\s*([0-9]+\s*(d|h|ms|m|s)\s*)+$";

/// Any text.
pub static TEXT: Format = Format { what: "a text", pattern: "", check: |_| Ok(()) };

/// A text that says something.
pub static SOME: Format = Format {
    what: "a text",
    pattern: r"\S",
    check: |text| if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) },
};

/// A name of a site, host or device.
pub static NAME: Format = Format {
    what: "a name",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    check: |text| {
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && text.len() <= 64;
        if fits {
            Ok(())
        } else {
            Err("names are made of letters, digits, `-`, `_` and `.`, at most 64, such as `h1` or `rack-2.h1`"
                .to_owned())
        }
    },
};

/// A length of time.
pub static SPAN: Format =
    Format { what: "a length of time such as \"10m\"", pattern: SPAN_PATTERN, check: |text| span(text).map(drop) };

/// A length of time above zero.
pub static SPAN_ABOVE_ZERO: Format = Format {
    what: "a length of time above zero, such as \"10m\"",
    pattern: SPAN_PATTERN,
    check: |text| match span(text)? {
        Span::ZERO => Err("zero makes no sense here".to_owned()),
        _ => Ok(()),
    },
};

/// An amount of memory.
pub static MEMORY: Format = Format {
    what: "an amount of memory such as \"512MiB\" or \"2GiB\"",
    pattern: r"^[0-9]+\s*(M|G|T)(iB)?$",
    check: |text| memory_mib(text).map(drop),
};

/// A time of the day.
pub static CLOCK: Format = Format {
    what: "a time of the day (UTC) such as \"02:00\"",
    pattern: r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
    check: |text| minute_of_day(text).map(drop),
};

/// A rung with its attempts.
pub static STEP: Format = Format {
    what: "a rung such as \"restart\" or \"restart x3\"",
    pattern: r"^(resume|restart|revert|relocate|alarm)( x[1-9][0-9]*)?$",
    check: |text| ladder_step(text).map(drop),
};

/// A host or a tag of hosts.
pub static HOST_OR_TAG: Format = Format {
    what: "a host or \"tag:TAG\"",
    pattern: r"\S",
    check: |text| match text {
        "" | "tag:" => Err("write for example \"h1\" or \"tag:ssd\"".to_owned()),
        _ => Ok(()),
    },
};

/// A hypervisor's URI with places for host and address.
pub static URI: Format = Format {
    what: "a URI such as \"qemu+tcp://{address}/system\", where `{host}` and `{address}` stand for the host's",
    pattern: r"^[a-z][a-z0-9+.-]*://",
    check: |text| uri(text, &["host", "address"]),
};

/// A host's address or name, or nothing.
pub static ADDRESS: Format = Format {
    what: "an address such as \"10.0.0.11\" or \"2001:db8::11\", or a host's name",
    pattern: "",
    check: address,
};

/// A network.
pub static NETWORK: Format = Format {
    what: "a network such as \"10.0.0.0/8\"",
    pattern: r"^[0-9a-fA-F.:]+/[0-9]+$",
    check: |text| text.parse::<Network>().map(drop).map_err(|error| error.to_string()),
};

/// A URL that is asked for a sign of life.
pub static URL: Format = Format {
    what: "a URL such as \"http://{address}/health\", where `{address}` stands for the VM's",
    pattern: r"^https?://",
    check: |text| {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err("it begins with http:// or https://".to_owned());
        }
        uri(text, &["address"])
    },
};

/// An address and port to listen on.
pub static LISTEN: Format = Format {
    what: "an address and port such as \"127.0.0.1:7710\" or \"[::1]:7710\"",
    pattern: r":[0-9]+$",
    check: |text| match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("names are not looked up here: write the address in digits, then `:` and the port".to_owned()),
    },
};

/// An alarm's code.
pub static ALARM: Format = Format {
    what: "an alarm's code such as \"MS1302\"",
    pattern: r"^MS[0-9]{4}$",
    check: |text| alarm_code(text).map(drop),
};

fn span(text: &str) -> Result<Span, String> {
    text.parse()
        .map_err(|_| "a number and a unit, `ms`, `s`, `m`, `h` or `d`, also one after the other: \"1h30m\"".to_owned())
}

/// Memory in MiB.
pub fn memory_mib(text: &str) -> Result<u64, String> {
    let wrong = || "a whole number and a unit, `MiB`, `GiB` or `TiB`".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "MiB" | "M" => 1,
        "GiB" | "G" => 1024,
        "TiB" | "T" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

/// The code of an alarm, as people are shown it. Who writes its name is told the code.
pub fn alarm_code(text: &str) -> Result<Code, String> {
    let codes: Vec<String> = Code::ALARMS.iter().map(|(code, _)| code.to_string()).collect();
    if let Some(found) = codes.iter().position(|code| code == text) {
        return Ok(Code::ALARMS[found].0);
    }
    let named = nearest(text, Code::ALARMS.iter().map(|(_, name)| *name));
    match Code::ALARMS.iter().find(|(_, name)| Some(*name) == named) {
        Some((code, name)) => Err(format!("the code of {name} is `{code}`")),
        None => Err(suggest(text, codes.iter().map(String::as_str), "")),
    }
}

/// Minutes since midnight.
pub fn minute_of_day(text: &str) -> Result<u32, String> {
    let parse = |part: &str, below: u32| match part.parse::<u32>() {
        Ok(number) if number < below && part.len() == 2 && !part.starts_with('+') => Some(number),
        _ => None,
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some(parse(hour, 24)? * 60 + parse(minute, 60)?))
        .ok_or_else(|| "two digits for the hour, `:`, two digits for the minute, 00:00 to 23:59".to_owned())
}

/// Names of all rungs.
pub const RUNGS: &[&str] = &["resume", "restart", "revert", "relocate", "alarm"];
/// More attempts of one rung within a window than this is a loop, not a recovery.
pub const ATTEMPTS_MOST: u32 = 100;

/// A rung and its attempts.
pub fn ladder_step(text: &str) -> Result<LadderStep, String> {
    let (name, attempts) = match text.split_once(char::is_whitespace) {
        None => (text, 1),
        Some((name, attempts)) => {
            let number = attempts.trim_start().strip_prefix('x').and_then(|number| number.parse().ok());
            let fits = number.filter(|number| (1..=ATTEMPTS_MOST).contains(number));
            (name, fits.ok_or_else(|| format!("attempts are written x1 to x{ATTEMPTS_MOST}, such as \"restart x3\""))?)
        }
    };
    let rung = match name {
        "resume" => Rung::Resume,
        "restart" => Rung::Restart,
        "revert" => Rung::Revert,
        "relocate" => Rung::Relocate,
        "alarm" => Rung::Alarm,
        _ => return Err(suggest(name, RUNGS.iter().copied(), "")),
    };
    Ok(LadderStep { rung, attempts })
}

fn address(text: &str) -> Result<(), String> {
    let text = super::address::without_brackets(text);
    let looks_like = |allowed: fn(char) -> bool| text.chars().all(allowed);
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if text.contains(':') {
        let help = "an IPv6 address is written like 2001:db8::11, without a port; a port belongs into `uri`";
        return Err(help.to_owned());
    }
    if looks_like(|c| c.is_ascii_digit() || c == '.') {
        return Err("an IPv4 address has four numbers from 0 to 255, without leading zeros".to_owned());
    }
    let label = |label: &str| {
        let ends = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && !ends
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let fits = looks_like(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits && name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err("a name is made of letters, digits, `-`, `_` and `.`".to_owned())
}

fn uri(text: &str, known: &[&str]) -> Result<(), String> {
    if !text.contains("://") {
        return Err("it begins with a scheme and `://`".to_owned());
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
        if !known.contains(&name) {
            return Err(format!("`{{{name}}}` stands for nothing; {}", suggest(name, known.iter().copied(), "")));
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_the_units_people_use() {
        for (text, mib) in [("512MiB", 512), ("2GiB", 2048), ("2 GiB", 2048), ("2G", 2048), ("1TiB", 1_048_576)] {
            assert_eq!(memory_mib(text), Ok(mib), "{text}");
        }
        for text in ["", "2", "GiB", "2GB", "2KiB", "-1GiB", "1.5GiB", "99999999999999999TiB"] {
            assert!(memory_mib(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_clock_has_24_hours() {
        assert_eq!(minute_of_day("00:00"), Ok(0));
        assert_eq!(minute_of_day("23:59"), Ok(1439));
        for text in ["24:00", "2:00", "02:60", "0200", "+1:00", "é:00"] {
            assert!(minute_of_day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_alarm_is_known_by_its_code_and_a_slip_names_the_nearest() {
        assert_eq!(alarm_code("MS1302"), Ok(Code::POINT_OVERDUE));
        assert_eq!(alarm_code("1302"), Err("did you mean `MS1302`?".to_owned()));
        assert_eq!(alarm_code("MS1191"), Err("did you mean `MS1101`?".to_owned()));
        assert_eq!(alarm_code("point-overdue"), Err("the code of POINT_OVERDUE is `MS1302`".to_owned()));
        assert!(alarm_code("everything").is_err_and(|help| help.starts_with("known here: `MS1001`, ")));
    }

    #[test]
    fn a_rung_may_say_its_attempts() {
        assert_eq!(ladder_step("alarm"), Ok(LadderStep { rung: Rung::Alarm, attempts: 1 }));
        assert_eq!(ladder_step("restart x3"), Ok(LadderStep { rung: Rung::Restart, attempts: 3 }));
        assert_eq!(ladder_step("restrt"), Err("did you mean `restart`?".to_owned()));
        for text in ["", "restart 3", "restart x0", "restart x101", "restart x-1"] {
            assert!(ladder_step(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_is_refused() {
        for text in [
            "",
            "10.0.0.11",
            "h1",
            "rack-2.h1.example.org",
            "h1.",
            "2001:db8::11",
            "[2001:db8::11]",
            "my_host",
            "1host",
        ] {
            assert_eq!(address(text), Ok(()), "{text}");
        }
        for text in [
            "10.0.0.999",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.1:22",
            "[2001:db8::11]:22",
            "2001:db8::g",
            "h1:22",
            "a b",
            "h1/x",
            "-h1",
            "h..1",
            "h1\u{1b}[2J",
            "höst",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_that_stands_for_nothing_is_refused() {
        assert!((URI.check)("qemu+tcp://{address}/system").is_ok());
        assert_eq!(
            (URI.check)("qemu+tcp://{adress}/system"),
            Err("`{adress}` stands for nothing; did you mean `address`?".into())
        );
        assert!((URI.check)("qemu+tcp://{address/system").is_err());
        assert!((URL.check)("ftp://{address}/").is_err());
    }
}
