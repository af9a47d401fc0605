//! Help texts, made from the flag tables.

use super::flags::{self, Verb};
use super::split::is_switch;
use clap::Arg;
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
    describe(&mut out, &flags::globals());
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
    let args = (verb.args)();
    if args.iter().any(|arg| arg.get_long().is_some()) {
        out.push_str("\nFlags:\n");
        describe(&mut out, &args);
    }
    if !verb.notes.is_empty() {
        out.push('\n');
        out.push_str(verb.notes);
        out.push('\n');
    }
    out
}

fn describe(out: &mut String, args: &[Arg]) {
    let shown = || args.iter().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set());
    let width = shown().map(|arg| spelling(arg).len()).max().unwrap_or(0);
    for arg in shown() {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        line(out, &spelling(arg), &help, width);
    }
}

/// `-b, --bundle DIR`
fn spelling(arg: &Arg) -> String {
    let mut text = match arg.get_short() {
        Some(letter) => format!("-{letter}, "),
        None => "    ".to_owned(),
    };
    text.push_str("--");
    text.push_str(arg.get_long().unwrap_or_default());
    if !is_switch(arg) {
        for name in arg.get_value_names().unwrap_or_default() {
            text.push(' ');
            text.push_str(name);
        }
    }
    text
}

fn line(out: &mut String, left: &str, right: &str, width: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {left:width$}  {right}");
}
