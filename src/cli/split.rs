//! Taking the argument vector apart: flags of urun itself, the verb, and what belongs to the verb. Rewrites the
//! single-dash long flags of Go programs (`-no-subreaper`, which go-runc sends) to what clap understands.

use super::flags::FlagsEnd;
use clap::Arg;
use std::{ffi::OsString, os::unix::ffi::OsStrExt};

/// The front part of an argument vector, rewritten, and what was left.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// For clap.
    pub flags: Vec<OsString>,
    /// From the first word on that is no flag and no value of one.
    pub rest: Vec<OsString>,
    /// Whether `--` ended the flags.
    pub dashes: bool,
}

/// Takes the flags of `args` from the front of `argv`.
pub fn leading(args: &[Arg], argv: impl IntoIterator<Item = OsString>) -> Split {
    let mut words = argv.into_iter();
    let mut split = Split { flags: Vec::new(), rest: Vec::new(), dashes: false };
    while let Some(word) = words.next() {
        match rewrite(args, &word) {
            Word::Flag(word) => split.flags.push(word),
            Word::FlagThenValue(word) => {
                split.flags.push(word);
                split.flags.extend(words.next());
            }
            Word::Dashes => {
                split.dashes = true;
                split.rest.extend(words);
                break;
            }
            Word::Positional => {
                split.rest.push(word);
                split.rest.extend(words);
                break;
            }
        }
    }
    split
}

/// The whole argument vector of a verb, rewritten for clap.
pub fn whole(args: &[Arg], end: FlagsEnd, argv: Vec<OsString>) -> Vec<OsString> {
    let Split { mut flags, mut rest, mut dashes } = leading(args, argv);
    while end == FlagsEnd::Dashes && !dashes && !rest.is_empty() {
        // Past this positional there may be more flags.
        flags.push(rest.remove(0));
        let next = leading(args, rest);
        flags.extend(next.flags);
        rest = next.rest;
        dashes = next.dashes;
    }
    if !rest.is_empty() {
        flags.push("--".into());
        flags.extend(rest);
    }
    flags
}

enum Word {
    Flag(OsString),
    FlagThenValue(OsString),
    Dashes,
    Positional,
}

/// Tells what a word is where a flag may stand.
fn rewrite(args: &[Arg], word: &OsString) -> Word {
    let bytes = word.as_bytes();
    let Some(tail) = bytes.strip_prefix(b"-").filter(|tail| !tail.is_empty()) else {
        return Word::Positional;
    };
    if bytes == b"--" {
        return Word::Dashes;
    }
    let (name, has_value) = match tail.iter().position(|&byte| byte == b'=') {
        Some(at) => (&tail[..at], true),
        None => (tail, false),
    };
    let long = |name: &[u8]| args.iter().find(|arg| arg.get_long().is_some_and(|l| l.as_bytes() == name));
    if let Some(name) = name.strip_prefix(b"-") {
        return flag(word.clone(), long(name), has_value);
    }
    if let Some(arg) = long(name).filter(|_| name.len() > 1) {
        let mut twice = OsString::from("-");
        twice.push(word);
        return flag(twice, Some(arg), has_value);
    }
    // A cluster of letters: one that takes a value takes the tail of the cluster, or, as the last letter, the next word.
    let takes_value = |&byte: &u8| {
        args.iter().find(|arg| arg.get_short() == Some(char::from(byte))).is_some_and(|arg| !is_switch(arg))
    };
    let value_at = name.iter().position(takes_value);
    if value_at.is_some_and(|at| at + 1 == name.len()) && !has_value {
        return Word::FlagThenValue(word.clone());
    }
    Word::Flag(word.clone())
}

fn flag(word: OsString, arg: Option<&Arg>, has_value: bool) -> Word {
    match arg {
        Some(arg) if !has_value && !is_switch(arg) => Word::FlagThenValue(word),
        _ => Word::Flag(word),
    }
}

/// Whether a flag can stand without a value.
pub fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.min_values() == 0)
}

#[cfg(test)]
mod tests {
    use super::{super::flags, *};

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    #[test]
    fn the_verb_is_the_first_word_that_is_no_value() {
        for (argv, flags, rest) in [
            ("--root state state x", "--root state", "state x"),
            ("-root state state x", "--root state", "state x"),
            ("--root=state --debug list", "--root=state --debug", "list"),
            ("-debug=false -v list", "--debug=false -v", "list"),
            ("--log -root kill -a x", "--log -root", "kill -a x"),
            ("--nonsense kill x", "--nonsense", "kill x"),
            ("-- kill x", "", "kill x"),
            ("--root", "--root", ""),
            ("- x", "", "- x"),
            ("-=x kill", "-=x", "kill"),
        ] {
            let split = leading(&flags::globals(), words(argv));
            assert_eq!((split.flags, split.rest), (words(flags), words(rest)), "{argv}");
        }
    }

    #[test]
    fn flags_go_through_positionals_unless_the_verb_forbids() {
        let args = |verb: &str| (flags::VERBS.iter().find(|known| known.name == verb).unwrap().args)();
        for (verb, end, argv, out) in [
            ("delete", FlagsEnd::Dashes, "x -force", "x --force"),
            ("delete", FlagsEnd::Dashes, "x -- -force", "x -- -force"),
            ("kill", FlagsEnd::FirstPositional, "-all x -all", "--all -- x -all"),
            ("run", FlagsEnd::Dashes, "-db /x -keep c", "-db /x --keep c"),
            ("run", FlagsEnd::Dashes, "-d -b -keep c", "-d -b -keep c"),
            ("run", FlagsEnd::Dashes, "-b/x -no-subreaper c", "-b/x --no-subreaper c"),
        ] {
            assert_eq!(whole(&args(verb), end, words(argv)), words(out), "{argv}");
        }
    }
}
