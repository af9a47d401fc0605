//! Signals as people and engines spell them. Pure.

use crate::error::{Error, Result};

/// Names without `SIG`, with the aliases of signal(7).
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The first real-time signal that C libraries leave to programs, and the last: what `kill -l` and Go call RTMIN and RTMAX.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal: `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`, `RTMAX-1`. 0 asks whether the process exists.
pub fn parse(text: &str) -> Result<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match text.parse::<i32>() {
        Ok(number) => Some(number).filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        Err(_) => named(name),
    };
    number.filter(|number| (0..=RTMAX).contains(number)).ok_or_else(|| {
        let error = Error::new(format_args!("unknown signal {text:?}"));
        if text.starts_with("--") { error.hint("flags go before the container's ID") } else { error }
    })
}

fn named(name: &str) -> Option<i32> {
    let offset = |text: &str| match text {
        "" => Some(0),
        _ => text[1..].parse::<u8>().ok().map(i32::from),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => RTMIN + offset(rest)?,
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => RTMAX - offset(rest)?,
        _ => return NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("sigTerm", 15),
            ("0", 0),
            ("37", 37),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-14", 50),
            ("RTMAX", 64),
            ("CLD", libc::SIGCHLD),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_named() {
        for text in [
            "",
            "65",
            "-1",
            "+9",
            "SIG",
            "SIG9",
            "FOO",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMIN+é",
            "99999999999",
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("unknown signal {text:?}"));
        }
        assert!(parse("--all").unwrap_err().remedy().is_some());
    }
}
