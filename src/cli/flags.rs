//! Every verb and every flag, as tables: the parser and the help text both read them.

use super::{
    flag::{Flag, Takes, bytes, flag, number, one_of, path, switch, text},
    limits,
};

/// One verb.
#[derive(Debug)]
pub struct Verb {
    /// What the user types.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// What follows `urun `.
    pub usage: &'static str,
    /// Its flags.
    pub flags: fn() -> Vec<&'static Flag>,
    /// How many words it takes beside them, at most.
    pub operands: usize,
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
        flags: run,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "An argument with a slash (run ./web) is the bundle; the id is then made from its name.\n\
                Exits with the code of the container's process, or 128 + the signal that ended it.",
    },
    Verb {
        name: "create",
        about: "create a container that waits for start",
        usage: "create [FLAGS] ID | BUNDLE",
        flags: create,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "An argument with a slash (create ./web) is the bundle; the id is made from its name and printed.",
    },
    Verb {
        name: "start",
        about: "let a created container run its program",
        usage: "start ID",
        flags: Vec::new,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "Returns when the program runs, or with the reason why it cannot.",
    },
    Verb {
        name: "state",
        about: "print the state of a container as JSON",
        usage: "state ID",
        flags: Vec::new,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "exec",
        about: "run a program in a container that runs",
        usage: "exec [FLAGS] ID COMMAND [ARGUMENT …]",
        flags: exec,
        operands: MANY,
        flags_end: FlagsEnd::FirstPositional,
        notes: "What no flag names is as in the container's own process: user, environment, directory, capabilities.\n\
                Exits with the code of the program, 128 + the signal that ended it, or 255 when it never ran.",
    },
    Verb {
        name: "list",
        about: "list the containers",
        usage: "list [FLAGS]",
        flags: list,
        operands: 0,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "ps",
        about: "list the processes of a container",
        usage: "ps [FLAGS] ID [PS-ARGUMENT]…",
        flags: ps,
        operands: MANY,
        flags_end: FlagsEnd::FirstPositional,
        notes: "The table is what ps(1) prints, -ef unless arguments are given, without the lines of other processes;\n\
                the arguments have to leave it a column PID.",
    },
    Verb {
        name: "ids",
        about: "show who owns what: ids on the host, in the container, and for each of its mounts",
        usage: "ids [FLAGS] ID",
        flags: ids,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "Says which owner of a file on the host is which one inside, and what looks like nobody. Of an id-mapped mount\n\
                the ids on the host are those that its file system has. Ids on the host are as the caller sees them.",
    },
    Verb {
        name: "pause",
        about: "let every process of a container stand still",
        usage: "pause ID",
        flags: Vec::new,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "resume",
        about: "let a paused container run again",
        usage: "resume ID",
        flags: Vec::new,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "kill",
        about: "send a signal to a container",
        usage: "kill [FLAGS] ID [SIGNAL]",
        flags: kill,
        operands: 2,
        flags_end: FlagsEnd::FirstPositional,
        notes: "SIGNAL is a number or a name: 9, KILL, sigkill, RTMIN+3. Without one it is TERM.",
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        usage: "update [FLAGS] ID",
        flags: update,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "BYTES may end in K, M, G, T or P; -1 is no limit. What is not named stays as it is.",
    },
    Verb {
        name: "events",
        about: "print what a container uses and when it runs out of memory",
        usage: "events [FLAGS] ID",
        flags: events,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "A JSON object a line, until the container ends.",
    },
    Verb {
        name: "delete",
        about: "remove what a stopped container has left",
        usage: "delete [FLAGS] ID",
        flags: delete,
        operands: 1,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
    Verb {
        name: "gc",
        about: "remove what crashes have left",
        usage: "gc",
        flags: Vec::new,
        operands: 0,
        flags_end: FlagsEnd::Dashes,
        notes: "Containers whose making was cut short go, and ids that were claimed for nobody; stopped containers stay.",
    },
    Verb {
        name: "spec",
        about: "write a config.json to start from",
        usage: "spec [FLAGS]",
        flags: spec,
        operands: 0,
        flags_end: FlagsEnd::Dashes,
        notes: "The container gets a user namespace: your subordinate ids, or as root a free range of 65536.",
    },
    Verb {
        name: "features",
        about: "print what this runtime supports as JSON",
        usage: "features",
        flags: Vec::new,
        operands: 0,
        flags_end: FlagsEnd::Dashes,
        notes: "",
    },
];

/// Verbs of other runtimes that this version does not have yet. Probes ask for their help to learn whether they exist
/// (`checkpoint --help`, CRI-O), so they have none.
pub const LATER: &[&str] = &["checkpoint", "restore", "mounts"];

/// No bound on the words beside the flags.
const MANY: usize = usize::MAX;

/// `--help`, of urun itself and of every verb.
pub const HELP: Flag = switch("help", "h", "print this help");

/// The flags before the verb.
pub const GLOBALS: &[Flag] = &[
    path("root", "", "DIR", "keep the containers' state in DIR"),
    bytes("log", "", "WHERE", "log to FILE, file:FILE, journald:ID or syslog:ID"),
    one_of("log-format", "", "FORMAT", &["text", "json"], "form of the log: text or json [text]"),
    one_of(
        "log-level",
        "",
        "LEVEL",
        &["error", "warning", "info", "debug"],
        "least level to log: error, warning, info or debug [error]",
    ),
    switch("debug", "", "log everything, as --log-level debug"),
    switch("systemd-cgroup", "", "let systemd manage the cgroup"),
    one_of(
        "cgroup-manager",
        "",
        "MANAGER",
        &["cgroupfs", "systemd", "disabled"],
        "what manages the cgroup: cgroupfs or disabled [cgroupfs]",
    ),
    // For runc's sake.
    one_of("rootless", "", "WHEN", &["auto", "true", "false"], ""),
    bytes("criu", "", "FILE", ""),
    switch("version", "vV", "print the version"),
    HELP,
];

fn create() -> Vec<&'static Flag> {
    // It never waits.
    const DETACH: &Flag = &switch("detach", "d", "");
    CREATION.iter().chain([DETACH]).collect()
}

fn run() -> Vec<&'static Flag> {
    const RUN: &[Flag] = &[
        switch("detach", "d", "return when the program runs, and print a made id"),
        switch("keep", "", "do not delete the container when it ends"),
        switch("no-subreaper", "", "do not adopt the container's orphans"),
    ];
    CREATION.iter().chain(RUN).collect()
}

const CREATION: &[Flag] = &[
    path("bundle", "b", "DIR", "directory with config.json [the current one]"),
    path("config", "f", "FILE", "read FILE instead of the bundle's config.json"),
    path("console-socket", "", "SOCKET", "send the terminal's master to SOCKET"),
    path("pid-file", "", "FILE", "write the pid of the container's process to FILE"),
    path("pidfd-socket", "", "SOCKET", "send a pidfd of the container's process to SOCKET"),
    number("preserve-fds", "", "N", "hand down N descriptors from 3 on, beside LISTEN_FDS"),
    PROC_MOUNT,
    USERNS,
    switch("hardened", "", "no nested user namespaces, no privileges to gain, processes alone in /proc"),
    switch("no-pivot", "", "move the root instead of pivot_root, for a root file system on a ramdisk"),
    switch("no-new-keyring", "", "keep the caller's session keyring"),
];

fn exec() -> Vec<&'static Flag> {
    const EXEC: &[Flag] = &[
        path("process", "p", "FILE", "take the process from FILE, the process object of a config.json"),
        switch("detach", "d", "return when the program runs"),
        switch("tty", "t", "give the program a terminal"),
        bytes("user", "u", "UID[:GID]", "run as UID, with the primary group GID"),
        number("additional-gids", "g", "GID", "add GID to the groups (repeatable)"),
        bytes("env", "e", "NAME=VALUE", "set a variable (repeatable)"),
        bytes("cwd", "", "DIR", "run in DIR"),
        bytes("cap", "c", "CAPABILITY", "grant a capability in addition (repeatable)"),
        switch("no-new-privs", "", "let execve grant no privileges"),
        bytes("process-label", "", "LABEL", "run under the SELinux LABEL"),
        bytes("apparmor", "", "PROFILE", "run under the AppArmor PROFILE"),
        bytes(
            "cgroup",
            "",
            "[CONTROLLER:]PATH",
            "run in the control group PATH below the container's (repeatable)",
        ),
        switch("ignore-paused", "", "wait in a paused container until it is resumed"),
        path("console-socket", "", "SOCKET", "send the terminal's master to SOCKET"),
        path("pid-file", "", "FILE", "write the pid of the program to FILE; there is none if it never ran"),
        path("pidfd-socket", "", "SOCKET", "send a pidfd of the program to SOCKET"),
        number("preserve-fds", "", "N", "hand down N descriptors from 3 on, beside LISTEN_FDS"),
        switch("no-new-keyring", "", "keep the caller's session keyring"),
        switch("no-subreaper", "", "do not adopt the program's orphans"),
    ];
    EXEC.iter().collect()
}

fn list() -> Vec<&'static Flag> {
    const LIST: &[Flag] = &[
        one_of("format", "f", "FORMAT", &["table", "json"], "form of the list [table]"),
        switch("quiet", "q", "print only the ids"),
    ];
    LIST.iter().collect()
}

fn ps() -> Vec<&'static Flag> {
    const HELP: &str = "form of the list: table or json, pids alone [table]";
    const PS: &[Flag] = &[one_of("format", "f", "FORMAT", &["table", "json"], HELP)];
    PS.iter().collect()
}

fn ids() -> Vec<&'static Flag> {
    const HELP: &str = "form of what is shown: table or json [table]";
    const IDS: &[Flag] = &[one_of("format", "f", "FORMAT", &["table", "json"], HELP)];
    IDS.iter().collect()
}

fn update() -> Vec<&'static Flag> {
    const RESOURCES: &Flag =
        &path("resources", "r", "FILE", "read linux.resources from FILE instead, - for standard input");
    const REST: &[Flag] = &[
        // For runc's sake.
        bytes("kernel-memory", "", "BYTES", ""),
        bytes("kernel-memory-tcp", "", "BYTES", ""),
        text("l3-cache-schema", "", "SCHEMA", "Intel RDT cache lines: L3:0=f;1=f"),
        text("mem-bw-schema", "", "SCHEMA", "Intel RDT memory bandwidth line: MB:0=20;1=70"),
    ];
    let limits = limits::FLAGS.iter().map(|limit| &limit.flag);
    std::iter::once(RESOURCES).chain(limits).chain(REST).collect()
}

fn events() -> Vec<&'static Flag> {
    const EVENTS: &[Flag] = &[
        flag(
            "interval",
            "",
            Takes::Time("TIME"),
            "time between two lines about what it uses: 500ms, 1m30s [5s]",
        ),
        switch("stats", "", "print one line about what it uses now"),
    ];
    EVENTS.iter().collect()
}

fn kill() -> Vec<&'static Flag> {
    const KILL: &[Flag] = &[
        switch("all", "a", "signal every process of the container, also when its first one has ended"),
        switch("regex", "r", "ID is a regular expression: signal every container whose id matches"),
    ];
    KILL.iter().collect()
}

fn delete() -> Vec<&'static Flag> {
    const DELETE: &[Flag] = &[
        switch("force", "f", "kill the container first; no error when it does not exist"),
        switch("regex", "r", "ID is a regular expression: delete every container whose id matches"),
    ];
    DELETE.iter().collect()
}

fn spec() -> Vec<&'static Flag> {
    const SPEC: &[Flag] = &[
        path("bundle", "b", "DIR", "directory to write config.json to [the current one]"),
        path("config", "f", "FILE", ""),
        PROC_MOUNT,
        USERNS,
        switch("rootless", "", "write it for an unprivileged caller, whoever calls"),
    ];
    SPEC.iter().collect()
}

const USERNS: Flag =
    text("userns", "", "WHOSE", "its ids: auto, auto:size=N, keep-id, host, or INSIDE:HOST:COUNT,…");

const PROC_MOUNT: Flag = one_of(
    "proc-mount",
    "",
    "KIND",
    &["default", "unmasked"],
    "unmasked: hide nothing below /proc and /sys [default]",
);
