//! Every verb and every flag, as tables: the parser and the help text both read them.

use super::limits::Kind;
use clap::{Arg, ArgAction, builder::ValueParser};
use std::{ffi::OsString, path::PathBuf};

/// One verb.
#[derive(Debug)]
pub struct Verb {
    /// What the user types.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// What follows `urun `.
    pub usage: &'static str,
    /// Its flags and positionals.
    pub args: fn() -> Vec<Arg>,
    /// What ends the flags.
    pub flags_end: FlagsEnd,
    /// Lines below the flags.
    pub notes: &'static str,
}

/// Where flags may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagsEnd {
    /// Anywhere, until `--`.
    Dashes,
    /// Before the first positional; what follows is taken as it is.
    FirstPositional,
}

/// The verbs of this version, in the order of a container's life.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "run",
        about: "create a container, start it, wait for its end and delete it",
        usage: "run [FLAGS] ID | BUNDLE",
        args: run,
        flags_end: FlagsEnd::Dashes,
        notes: "An argument with a slash (run ./web) is the bundle; the id is then made from its name.\n\
                Exits with the code of the container's process, or 128 + the signal that ended it.",
    },
    Verb {
        name: "create",
        about: "create a container that waits for start",
        usage: "create [FLAGS] ID | BUNDLE",
        args: create,
        flags_end: FlagsEnd::Dashes,
        notes: "An argument with a slash (create ./web) is the bundle; the id is made from its name and printed.",
    },
    Verb {
        name: "start",
        about: "let a created container run its program",
        usage: "start ID",
        args: id_only,
        flags_end: FlagsEnd::Dashes,
        notes: "Returns when the program runs, or with the reason why it cannot.",
    },
    Verb {
        name: "state",
        about: "print the state of a container as JSON",
        usage: "state ID",
        args: id_only,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "exec",
        about: "run a program in a container that runs",
        usage: "exec [FLAGS] ID COMMAND [ARGUMENT …]",
        args: exec,
        flags_end: FlagsEnd::FirstPositional,
        notes: "What no flag names is as in the container's own process: user, environment, directory, capabilities.\n\
                Exits with the code of the program, 128 + the signal that ended it, or 255 when it never ran.",
    },
    Verb {
        name: "list",
        about: "list the containers",
        usage: "list [FLAGS]",
        args: list,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "ps",
        about: "list the processes of a container",
        usage: "ps [FLAGS] ID [PS-ARGUMENT]…",
        args: ps,
        flags_end: FlagsEnd::FirstPositional,
        notes: "The table is what ps(1) prints, -ef unless arguments are given, without the lines of other processes;\n\
                the arguments have to leave it a column PID.",
    },
    Verb {
        name: "ids",
        about: "show who owns what: ids on the host, in the container, and for each of its mounts",
        usage: "ids [FLAGS] ID",
        args: ids,
        flags_end: FlagsEnd::Dashes,
        notes: "Says which owner of a file on the host is which one inside, and what looks like nobody. Of an id-mapped mount\n\
                the ids on the host are those that its file system has. Ids on the host are as the caller sees them.",
    },
    Verb {
        name: "pause",
        about: "let every process of a container stand still",
        usage: "pause ID",
        args: id_only,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "resume",
        about: "let a paused container run again",
        usage: "resume ID",
        args: id_only,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "kill",
        about: "send a signal to a container",
        usage: "kill [FLAGS] ID [SIGNAL]",
        args: kill,
        flags_end: FlagsEnd::FirstPositional,
        notes: "SIGNAL is a number or a name: 9, KILL, sigkill, RTMIN+3. Without one it is TERM.",
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        usage: "update [FLAGS] ID",
        args: update,
        flags_end: FlagsEnd::Dashes,
        notes: "BYTES may end in K, M, G, T or P; -1 is no limit. What is not named stays as it is.",
    },
    Verb {
        name: "events",
        about: "print what a container uses and when it runs out of memory",
        usage: "events [FLAGS] ID",
        args: events,
        flags_end: FlagsEnd::Dashes,
        notes: "A JSON object a line, until the container ends.",
    },
    Verb {
        name: "delete",
        about: "remove what a stopped container has left",
        usage: "delete [FLAGS] ID",
        args: delete,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "gc",
        about: "remove what crashes have left",
        usage: "gc",
        args: Vec::new,
        flags_end: FlagsEnd::Dashes,
        notes: "Containers whose making was cut short go, and ids that were claimed for nobody; stopped containers stay.",
    },
    Verb {
        name: "spec",
        about: "write a config.json to start from",
        usage: "spec [FLAGS]",
        args: spec,
        flags_end: FlagsEnd::Dashes,
        notes: "The container gets a user namespace: your subordinate ids, or as root a free range of 65536.",
    },
    Verb {
        name: "features",
        about: "print what this runtime supports as JSON",
        usage: "features",
        args: Vec::new,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
];

/// Verbs of other runtimes that this version does not have yet. Probes ask for their help to learn whether they exist
/// (`checkpoint --help`, CRI-O), so they have none.
pub const LATER: &[&str] = &["checkpoint", "restore", "mounts"];

/// The flags before the verb.
pub fn globals() -> Vec<Arg> {
    vec![
        path("root", None, "DIR", "keep the containers' state in DIR"),
        text("log", None, "WHERE", "log to FILE, file:FILE, journald:ID or syslog:ID"),
        one_of("log-format", "FORMAT", &["text", "json"], "form of the log: text or json [text]"),
        one_of(
            "log-level",
            "LEVEL",
            &["error", "warning", "info", "debug"],
            "least level to log: error, warning, info or debug [error]",
        ),
        switch("debug", None, "log everything, as --log-level debug"),
        switch("systemd-cgroup", None, "let systemd manage the cgroup"),
        one_of(
            "cgroup-manager",
            "MANAGER",
            &["cgroupfs", "systemd", "disabled"],
            "what manages the cgroup: cgroupfs or disabled [cgroupfs]",
        ),
        one_of("rootless", "WHEN", &["auto", "true", "false"], "accepted for runc's sake").hide(true),
        text("criu", None, "FILE", "accepted for runc's sake").hide(true),
        switch("version", Some('v'), "print the version").visible_short_alias('V'),
        switch("help", Some('h'), "print this help"),
    ]
}

fn create() -> Vec<Arg> {
    let mut args = creation();
    args.push(switch("detach", Some('d'), "accepted, as create never waits").hide(true));
    args
}

fn run() -> Vec<Arg> {
    let mut args = creation();
    args.extend([
        switch("detach", Some('d'), "return when the program runs, and print a made id"),
        switch("keep", None, "do not delete the container when it ends"),
        switch("no-subreaper", None, "do not adopt the container's orphans"),
    ]);
    args
}

fn creation() -> Vec<Arg> {
    vec![
        path("bundle", Some('b'), "DIR", "directory with config.json [the current one]"),
        path("config", Some('f'), "FILE", "read FILE instead of the bundle's config.json"),
        path("console-socket", None, "SOCKET", "send the terminal's master to SOCKET"),
        path("pid-file", None, "FILE", "write the pid of the container's process to FILE"),
        path("pidfd-socket", None, "SOCKET", "send a pidfd of the container's process to SOCKET"),
        number("preserve-fds", "N", "hand down N descriptors from 3 on, beside LISTEN_FDS"),
        proc_mount(),
        userns(),
        switch(
            "hardened",
            None,
            "no nested user namespaces, no privileges to gain, processes alone in /proc",
        ),
        switch("no-pivot", None, "move the root instead of pivot_root, for a root file system on a ramdisk"),
        switch("no-new-keyring", None, "keep the caller's session keyring"),
        Arg::new("id").value_parser(ValueParser::os_string()),
    ]
}

fn exec() -> Vec<Arg> {
    vec![
        path("process", Some('p'), "FILE", "take the process from FILE, the process object of a config.json"),
        switch("detach", Some('d'), "return when the program runs"),
        switch("tty", Some('t'), "give the program a terminal"),
        text("user", Some('u'), "UID[:GID]", "run as UID, with the primary group GID"),
        number("additional-gids", "GID", "add GID to the groups (repeatable)")
            .short('g')
            .action(ArgAction::Append),
        text("env", None, "NAME=VALUE", "set a variable (repeatable)").short('e').action(ArgAction::Append),
        text("cwd", None, "DIR", "run in DIR"),
        text("cap", None, "CAPABILITY", "grant a capability in addition (repeatable)")
            .short('c')
            .action(ArgAction::Append),
        switch("no-new-privs", None, "let execve grant no privileges"),
        text("process-label", None, "LABEL", "run under the SELinux LABEL"),
        text("apparmor", None, "PROFILE", "run under the AppArmor PROFILE"),
        text(
            "cgroup",
            None,
            "[CONTROLLER:]PATH",
            "run in the control group PATH below the container's (repeatable)",
        )
        .action(ArgAction::Append),
        switch("ignore-paused", None, "wait in a paused container until it is resumed"),
        path("console-socket", None, "SOCKET", "send the terminal's master to SOCKET"),
        path("pid-file", None, "FILE", "write the pid of the program to FILE; there is none if it never ran"),
        path("pidfd-socket", None, "SOCKET", "send a pidfd of the program to SOCKET"),
        number("preserve-fds", "N", "hand down N descriptors from 3 on, beside LISTEN_FDS"),
        switch("no-new-keyring", None, "keep the caller's session keyring"),
        switch("no-subreaper", None, "do not adopt the program's orphans"),
        Arg::new("id").value_parser(ValueParser::os_string()),
        Arg::new("command").num_args(0..).value_parser(ValueParser::os_string()),
    ]
}

fn id_only() -> Vec<Arg> {
    vec![Arg::new("id").value_parser(ValueParser::os_string())]
}

fn list() -> Vec<Arg> {
    vec![
        one_of("format", "FORMAT", &["table", "json"], "form of the list [table]").short('f'),
        switch("quiet", Some('q'), "print only the ids"),
    ]
}

fn ps() -> Vec<Arg> {
    vec![
        one_of("format", "FORMAT", &["table", "json"], "form of the list: table or json, pids alone [table]")
            .short('f'),
        Arg::new("id").value_parser(ValueParser::os_string()),
        Arg::new("args").action(ArgAction::Append).num_args(0..).value_parser(ValueParser::os_string()),
    ]
}

fn ids() -> Vec<Arg> {
    vec![
        one_of("format", "FORMAT", &["table", "json"], "form of what is shown: table or json [table]")
            .short('f'),
        Arg::new("id").value_parser(ValueParser::os_string()),
    ]
}

fn update() -> Vec<Arg> {
    let mut args = vec![
        path("resources", None, "FILE", "read linux.resources from FILE instead, - for standard input")
            .short('r'),
    ];
    args.extend(super::limits::FLAGS.iter().map(|limit| {
        let arg = text(limit.flag, None, limit.kind.name(), limit.help);
        match limit.kind {
            Kind::Number(_) => arg.value_parser(clap::value_parser!(i64)),
            Kind::Bytes => arg.value_parser(|word: &str| super::quantity::bytes(word)),
            Kind::Text(_) => arg.value_parser(ValueParser::string()),
        }
    }));
    args.extend([
        text("kernel-memory", None, "BYTES", "accepted for runc's sake").hide(true),
        text("kernel-memory-tcp", None, "BYTES", "accepted for runc's sake").hide(true),
        text("l3-cache-schema", None, "SCHEMA", "Intel RDT cache lines: L3:0=f;1=f")
            .value_parser(ValueParser::string()),
        text("mem-bw-schema", None, "SCHEMA", "Intel RDT memory bandwidth line: MB:0=20;1=70")
            .value_parser(ValueParser::string()),
        Arg::new("id").value_parser(ValueParser::os_string()),
    ]);
    args
}

fn events() -> Vec<Arg> {
    vec![
        text("interval", None, "TIME", "time between two lines about what it uses: 500ms, 1m30s [5s]")
            .value_parser(|word: &str| super::quantity::duration(word)),
        switch("stats", None, "print one line about what it uses now"),
        Arg::new("id").value_parser(ValueParser::os_string()),
    ]
}

fn kill() -> Vec<Arg> {
    vec![
        switch("all", Some('a'), "signal every process of the container, also when its first one has ended"),
        switch("regex", Some('r'), "ID is a regular expression: signal every container whose id matches"),
        Arg::new("id").value_parser(ValueParser::os_string()),
        Arg::new("signal").value_parser(ValueParser::os_string()),
    ]
}

fn delete() -> Vec<Arg> {
    vec![
        switch("force", Some('f'), "kill the container first; no error when it does not exist"),
        switch("regex", Some('r'), "ID is a regular expression: delete every container whose id matches"),
        Arg::new("id").value_parser(ValueParser::os_string()),
    ]
}

fn spec() -> Vec<Arg> {
    vec![
        path("bundle", Some('b'), "DIR", "directory to write config.json to [the current one]"),
        path("config", Some('f'), "FILE", "write FILE instead").hide(true),
        proc_mount(),
        userns(),
        switch("rootless", None, "write it for an unprivileged caller, whoever calls"),
    ]
}

fn userns() -> Arg {
    text("userns", None, "WHOSE", "its ids: auto, auto:size=N, keep-id, host, or INSIDE:HOST:COUNT,…")
        .value_parser(ValueParser::string())
}

fn proc_mount() -> Arg {
    one_of(
        "proc-mount",
        "KIND",
        &["default", "unmasked"],
        "unmasked: hide nothing below /proc and /sys [default]",
    )
}

fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    flag(name, short, help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(|word: &str| parse_bool(word))
}

fn path(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    flag(name, short, help).value_name(value).value_parser(clap::value_parser!(PathBuf))
}

fn text(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    flag(name, short, help).value_name(value).value_parser(clap::value_parser!(OsString))
}

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    flag(name, None, help).value_name(value).value_parser(clap::value_parser!(u32))
}

fn one_of(
    name: &'static str,
    value: &'static str,
    words: &'static [&'static str],
    help: &'static str,
) -> Arg {
    flag(name, None, help).value_name(value).value_parser(words.to_vec()).hide_possible_values(true)
}

fn flag(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let flag = Arg::new(name).long(name).help(help).action(ArgAction::Set).allow_hyphen_values(true);
    match short {
        Some(letter) => flag.short(letter),
        None => flag,
    }
}

/// The words that Go's strconv.ParseBool takes, as go-runc and crun's callers send them.
fn parse_bool(word: &str) -> Result<bool, String> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false is expected".to_owned()),
    }
}
