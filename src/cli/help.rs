//! Help texts, made from the flag tables.

use super::{
    flag::Flag,
    flags::{self, Verb},
};
use std::fmt::Write;

/// `urun --help`
pub fn overview() -> String {
    let mut out = String::from(
        "urun - run OCI containers, in user namespaces first\n\n\
         Usage: urun [FLAGS] COMMAND …\n\n\
         Commands:\n",
    );
    for verb in flags::VERBS {
        line(&mut out, verb.name, verb.about, 10);
    }
    out.push_str("\nFlags:\n");
    describe(&mut out, &flags::GLOBALS.iter().collect::<Vec<_>>());
    out.push_str("\nurun help COMMAND tells more about a command.\n");
    out
}

/// `urun help VERB`
pub fn verb(verb: &Verb) -> String {
    let mut about = verb.about.to_owned();
    if let Some(first) = about.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut out = format!("{about}.\n\nUsage: urun {}\n", verb.usage);
    let flags = (verb.flags)();
    if !flags.is_empty() {
        out.push_str("\nFlags:\n");
        describe(&mut out, &flags);
    }
    if !verb.notes.is_empty() {
        out.push('\n');
        out.push_str(verb.notes);
        out.push('\n');
    }
    out
}

fn describe(out: &mut String, flags: &[&Flag]) {
    let shown = || flags.iter().filter(|flag| !flag.help.is_empty());
    let width = shown().map(|flag| spelling(flag).len()).max().unwrap_or(0);
    for flag in shown() {
        line(out, &spelling(flag), flag.help, width);
    }
}

/// `-b, --bundle DIR`
fn spelling(flag: &Flag) -> String {
    let mut text = match flag.letters.chars().next() {
        Some(letter) => format!("-{letter}, "),
        None => "    ".to_owned(),
    };
    text.push_str("--");
    text.push_str(flag.name);
    if let Some(value) = flag.takes.name() {
        text.push(' ');
        text.push_str(value);
    }
    text
}

fn line(out: &mut String, left: &str, right: &str, width: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {left:width$}  {right}");
}
