//! Taking an argument vector apart: flags with their values, and the words between them. Flags are spelt as in Go's and in
//! the GNU way: `--flag value`, `--flag=value`, `-flag` (`-no-subreaper`, which go-runc sends), `-f value`, `-fvalue`, `-df`.

use super::{
    flag::{Flag, Takes},
    flags::{FlagsEnd, GLOBALS},
    quantity,
};
use crate::error::{Error, Result};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Flags with their values, which are what the flags take, in order.
    pub given: Vec<(&'static str, OsString)>,
    /// The words between and behind them.
    pub operands: Vec<OsString>,
}

/// What argument vectors are read by.
pub(super) struct Grammar<'a> {
    /// For errors: `urun` or `urun VERB`.
    pub program: &'a str,
    pub flags: Vec<&'static Flag>,
    pub end: FlagsEnd,
}

impl Grammar<'_> {
    /// Reads an argument vector.
    pub(super) fn read(&self, argv: impl IntoIterator<Item = OsString>) -> Result<Words> {
        let mut argv = argv.into_iter();
        let mut words = Words::default();
        while let Some(word) = argv.next() {
            match word.as_bytes() {
                b"--" => {
                    words.operands.extend(argv);
                    break;
                }
                [b'-', tail @ ..] if !tail.is_empty() => self.flags(tail, &mut argv, &mut words.given)?,
                _ => {
                    words.operands.push(word);
                    if self.end == FlagsEnd::FirstPositional {
                        words.operands.extend(argv);
                        break;
                    }
                }
            }
        }
        Ok(words)
    }

    /// The flags of one word without its first dash.
    fn flags(
        &self,
        tail: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        given: &mut Vec<(&'static str, OsString)>,
    ) -> Result<()> {
        let (name, value) = match tail.iter().position(|&byte| byte == b'=') {
            Some(at) => (&tail[..at], Some(&tail[at + 1..])),
            None => (tail, None),
        };
        let dashes = name.strip_prefix(b"-");
        let long = dashes.unwrap_or(name);
        let known = self.flags.iter().find(|flag| flag.name.as_bytes() == long);
        match known {
            Some(flag) if dashes.is_some() || long.len() > 1 => self.give(flag, value, rest, given),
            _ if dashes.is_some() => Err(self.unknown(&format!("--{}", String::from_utf8_lossy(long)))),
            _ => self.letters(tail, rest, given),
        }
    }

    /// A cluster of letters: one that takes a value takes the tail of the cluster, or, as the last letter, the next word.
    fn letters(
        &self,
        mut tail: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        given: &mut Vec<(&'static str, OsString)>,
    ) -> Result<()> {
        while let [letter, behind @ ..] = tail {
            let letter = char::from(*letter);
            let Some(flag) = self.flags.iter().find(|flag| flag.letters.contains(letter)) else {
                let shown = String::from_utf8_lossy(tail).chars().next().unwrap_or(letter);
                return Err(self.unknown(&format!("-{shown}")));
            };
            let value = match behind {
                [b'=', value @ ..] => Some(value),
                [] => None,
                value => (flag.takes != Takes::Switch).then_some(value),
            };
            self.give(flag, value, rest, given)?;
            tail = if value.is_some() { &[] } else { behind };
        }
        Ok(())
    }

    fn give(
        &self,
        flag: &'static Flag,
        value: Option<&[u8]>,
        rest: &mut impl Iterator<Item = OsString>,
        given: &mut Vec<(&'static str, OsString)>,
    ) -> Result<()> {
        let value = match value {
            Some(value) => Some(OsString::from_vec(value.to_vec())),
            None if flag.takes == Takes::Switch => Some("true".into()),
            None => rest.next(),
        };
        let Some(value) = value.filter(|value| !value.is_empty() || flag.takes.takes_nothing()) else {
            return Err(Error::new(format_args!(
                "{}: flag needs an argument: --{}",
                self.program, flag.name
            )));
        };
        if let Err(expected) = flag.takes.check(&value) {
            let (program, name) = (self.program, flag.name);
            return Err(Error::new(format_args!(
                "{program}: invalid value {:?} for --{name} ({expected})",
                value.to_string_lossy()
            )));
        }
        given.push((flag.name, value));
        Ok(())
    }

    fn unknown(&self, flag: &str) -> Error {
        let program = self.program;
        let error = Error::new(format_args!("{program}: unknown flag {flag}"));
        match GLOBALS.iter().any(|global| Some(global.name) == flag.strip_prefix("--")) {
            true => error.hint(format_args!(
                "{flag} goes before the command: urun {flag} … {}",
                program.strip_prefix("urun ").unwrap_or_default()
            )),
            false => error.hint(format_args!("{program} --help lists the flags")),
        }
    }
}

impl Takes {
    /// Whether an empty value means something, or is told as a wrong one.
    fn takes_nothing(self) -> bool {
        !matches!(self, Self::Path(_) | Self::Word(..))
    }

    /// Says what was expected where `value` is not that.
    fn check(self, value: &OsStr) -> Result<(), String> {
        if let Self::Path(_) | Self::Bytes(_) = self {
            return Ok(());
        }
        let Some(text) = value.to_str() else { return Err("UTF-8 is expected".to_owned()) };
        let unless =
            |expected: &str, is_right: bool| if is_right { Ok(()) } else { Err(expected.to_owned()) };
        match self {
            Self::Path(_) | Self::Bytes(_) | Self::Text(_) => Ok(()),
            Self::Switch => unless("true or false is expected", switch(text).is_some()),
            Self::Word(_, words) => unless(&format!("one of {}", words.join(", ")), words.contains(&text)),
            Self::Number(_) => {
                unless("a number from 0 to 4294967295 is expected", text.parse::<u32>().is_ok())
            }
            Self::Integer(_) => unless("a whole number is expected", text.parse::<i64>().is_ok()),
            Self::Size(_) => quantity::bytes(text).map(drop),
            Self::Time(_) => quantity::duration(text).map(drop),
        }
    }
}

/// The words that Go's strconv.ParseBool takes, as go-runc and crun's callers send them.
pub(super) fn switch(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::flags, *};

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    /// Flags with their values, then the rest.
    fn read(flags: Vec<&'static Flag>, end: FlagsEnd, argv: &str) -> String {
        match (Grammar { program: "urun", flags, end }).read(words(argv)) {
            Ok(words) => {
                let given = words.given.iter().map(|(name, value)| format!("{name}={} ", value.display()));
                let operands: Vec<_> = words.operands.iter().map(|it| it.to_string_lossy()).collect();
                format!("{}| {}", given.collect::<String>(), operands.join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_verb_is_the_first_word_that_is_no_value() {
        for (argv, expected) in [
            ("--root state state x", "root=state | state x"),
            ("-root state state x", "root=state | state x"),
            ("--root=state --debug list", "root=state debug=true | list"),
            ("-debug=false -v list", "debug=false version=true | list"),
            ("--log -root kill -a x", "log=-root | kill -a x"),
            ("--nonsense kill x", "urun: unknown flag --nonsense"),
            ("-- kill x", "| kill x"),
            ("--root", "urun: flag needs an argument: --root"),
            ("--root=", "urun: flag needs an argument: --root"),
            ("--log= x", "log= | x"),
            ("- x", "| - x"),
            ("-=x kill", "urun: unknown flag -="),
            ("--=x kill", "urun: unknown flag --"),
            ("--r x", "urun: unknown flag --r"),
            ("-é x", "urun: unknown flag -é"),
        ] {
            let found = read(flags::GLOBALS.iter().collect(), FlagsEnd::FirstPositional, argv);
            assert_eq!(found, expected, "{argv}");
        }
    }

    #[test]
    fn flags_go_through_positionals_unless_the_verb_forbids() {
        for (verb, argv, expected) in [
            ("delete", "x -force", "force=true | x"),
            ("delete", "x -- -force", "| x -force"),
            ("kill", "-all x -all", "all=true | x -all"),
            ("run", "-db /x -keep c", "detach=true bundle=/x keep=true | c"),
            ("run", "-d -b -keep c", "detach=true bundle=-keep | c"),
            ("run", "-b/x -no-subreaper c", "bundle=/x no-subreaper=true | c"),
            ("run", "-b=/x -d=false c", "bundle=/x detach=false | c"),
            ("run", "-dx c", "urun: unknown flag -x"),
            ("exec", "-e A=1 --env B=2 x sh -e", "env=A=1 env=B=2 | x sh -e"),
        ] {
            let verb = flags::VERBS.iter().find(|known| known.name == verb).unwrap();
            assert_eq!(read((verb.flags)(), verb.flags_end, argv), expected, "{argv}");
        }
    }
}
