//! Tests of the module above.

use super::*;
use crate::plan::proc_mount::ProcMount;
use std::fmt::Write as _;

fn parse(argv: &str) -> Result<Command> {
    Line::parse(argv.split_whitespace().map(OsString::from)).and_then(Line::command)
}

fn line(argv: &str) -> Line {
    Line::parse(argv.split_whitespace().map(OsString::from)).unwrap()
}

fn create(argv: &str) -> CreateArgs {
    match parse(argv).unwrap() {
        Command::Create(args) => args,
        Command::Run(args) => args.create,
        other => panic!("{other:?}"),
    }
}

/// Every distinct argument vector that CRI-O, Podman, Buildah, containerd, Docker and BuildKit were seen to send.
#[test]
fn everything_that_engines_send_is_understood() {
    for row in include_str!("../../tests/golden/argv.tsv").lines().filter(|row| !row.starts_with('#')) {
        let [_, verb, argv] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let parsed = parse(argv);
        let is_right = match (verb, &parsed) {
            ("create", Ok(Command::Create(args))) => args.bundle.is_some() && args.pid_file.is_some(),
            ("run", Ok(Command::Run(args))) => args.keep && !args.detach,
            ("exec", Ok(Command::Exec(args))) => {
                matches!(args.program, ExecProgram::Document(_))
                    && args.pid_file.is_some() == argv.contains("--pid-file")
                    && args.detach == argv.contains("--detach")
                    && args.console_socket.is_some() == argv.contains("--console-socket")
            }
            ("start", Ok(Command::Start(_)))
            | ("state", Ok(Command::State(_)))
            | ("features", Ok(Command::Features))
            | ("pause", Ok(Command::Pause(_)))
            | ("resume", Ok(Command::Resume(_)))
            | ("-", Ok(Command::Version)) => true,
            ("kill", Ok(Command::Kill(args))) => {
                args.all == (argv.contains("--all") || argv.contains("-a ")) && argv.ends_with(&args.signal)
            }
            ("update", Ok(Command::Update(args))) => match &args.resources {
                ResourcesFrom::Stdin => argv.contains("--resources - ") || argv.contains("--resources=- "),
                ResourcesFrom::File(path) => argv.contains(&format!("--resources={} ", path.display())),
                ResourcesFrom::Flags(_) => false,
            },
            ("ps", Ok(Command::Ps(args))) => args.json && args.args.is_empty(),
            ("delete", Ok(Command::Delete(args))) => args.force == argv.contains("--force"),
            (later, Err(error)) => error.to_string().contains(&format!("{later} is not supported yet")),
            _ => false,
        };
        assert!(is_right, "{row}: {parsed:?}");
    }
}

/// What engines' sources say they send, but no recording holds.
#[test]
fn everything_that_engines_may_send_is_understood() {
    let id: crate::state::ContainerId = "c".parse().unwrap();
    let twice = line("--root=/r --systemd-cgroup --root=/s --systemd-cgroup create --bundle /b c");
    assert_eq!(twice.globals.root.as_deref(), Some("/s".as_ref()));
    assert_eq!(twice.globals.driver, crate::state::Driver::Systemd);
    let shim =
        line("--root /r --debug --log /l --log-format json --systemd-cgroup=false --rootless=false start c");
    assert_eq!(shim.globals.log_level, LogLevel::Debug);
    assert_eq!(shim.globals.log_format, LogFormat::Json);
    assert_eq!(shim.globals.driver, crate::state::Driver::Cgroupfs);
    let pod =
        line("--log=journald:c --log-level warning --cgroup-manager=disabled --criu /usr/bin/criu state c");
    assert_eq!(pod.globals.log.as_deref(), Some("journald:c".as_ref()));
    assert_eq!(pod.globals.log_level, LogLevel::Warning);
    assert_eq!(pod.globals.driver, crate::state::Driver::Disabled);
    let without = line("--systemd-cgroup --cgroup-manager=disabled state c");
    assert_eq!(without.globals.driver, crate::state::Driver::Disabled);
    assert!(create("create --detach --preserve-fds 3 --no-new-keyring --pidfd-socket s c").no_new_keyring);
    assert_eq!(create("run --preserve-fds=3 -b /b c").preserve_fds, 3);
    let run = parse("run -d -no-subreaper -keep=false --keep -f x.json c").unwrap();
    let Command::Run(run) = run else { panic!() };
    assert!(run.detach && run.no_subreaper && run.keep && run.create.config.is_some());
    for argv in ["kill c", "kill -a=false c TERM", "kill --all=0 -- c TERM"] {
        let args = KillArgs { containers: Selection::One(id.clone()), signal: "TERM".to_owned(), all: false };
        assert_eq!(parse(argv).unwrap(), Command::Kill(args), "{argv}");
    }
    for argv in
        ["delete c --force", "delete -f c", "delete -f -- c", "delete --force=true c", "delete -force c"]
    {
        let args = DeleteArgs { containers: Selection::One(id.clone()), force: true };
        assert_eq!(parse(argv).unwrap(), Command::Delete(args), "{argv}");
    }
    for (argv, form) in [
        ("list", ListForm::Table),
        ("list --format=json", ListForm::Json),
        ("list -f json", ListForm::Json),
        ("list -q", ListForm::Quiet),
        ("list -q=false -f table", ListForm::Table),
        ("list -f json -quiet", ListForm::Quiet),
    ] {
        assert_eq!(parse(argv).unwrap(), Command::List(form), "{argv}");
    }
    for argv in ["-v", "-V", "--version", "--root /r --version", "-version"] {
        assert_eq!(parse(argv).unwrap(), Command::Version, "{argv}");
    }
}

/// Verbs that look at the processes of a container or change its limits.
#[test]
fn limits_and_arguments_of_ps_are_understood() {
    let id: crate::state::ContainerId = "c".parse().unwrap();
    for (argv, document) in [
        ("update c", serde_json::json!({})),
        (
            "update --memory 64M --memory-swap=-1 c --pids-limit -1",
            serde_json::json!({
                "memory": {"limit": 64 << 20, "swap": -1}, "pids": {"limit": -1}
            }),
        ),
        (
            "update --cpu-period 100000 --cpu-quota -1 --cpu-burst 5 --cpu-share 512 --cpu-idle 1 c",
            serde_json::json!({
                "cpu": {"period": 100_000, "quota": -1, "burst": 5, "shares": 512, "idle": 1}
            }),
        ),
        (
            "update --cpu-rt-period 1 --cpu-rt-runtime 2 --cpuset-cpus 0-1 --cpuset-mems 0 c",
            serde_json::json!({
                "cpu": {"realtimePeriod": 1, "realtimeRuntime": 2, "cpus": "0-1", "mems": "0"}
            }),
        ),
        (
            "update --blkio-weight 500 --memory-reservation 1.5k --kernel-memory 5 --kernel-memory-tcp x c",
            serde_json::json!({
                "memory": {"reservation": 1536}, "blockIO": {"weight": 500}
            }),
        ),
    ] {
        let Command::Update(args) = parse(argv).unwrap() else { panic!() };
        assert_eq!(args.resources, ResourcesFrom::Flags(document), "{argv}");
    }
    let Command::Update(args) =
        parse("update -r x --l3-cache-schema L3:0=f --mem-bw-schema MB:0=5 c").unwrap()
    else {
        panic!()
    };
    assert_eq!(args.resources, ResourcesFrom::File("x".into()));
    assert_eq!(args.l3_cache_schema.as_deref(), Some("L3:0=f"));
    assert_eq!(args.mem_bw_schema.as_deref(), Some("MB:0=5"));
    let every = |milliseconds| EventsForm::Every(std::time::Duration::from_millis(milliseconds));
    for (argv, form) in [
        ("events c", every(5000)),
        ("events --interval 1m c", every(60_000)),
        ("events c --interval=20ms", every(20)),
        ("events --stats c", EventsForm::Once),
    ] {
        assert_eq!(parse(argv).unwrap(), Command::Events(EventsArgs { id: id.clone(), form }), "{argv}");
    }
    for (argv, json, args) in [
        ("ps c", false, ""),
        ("ps -f json c", true, ""),
        ("ps --format=table c -o pid,comm --format x", false, "-o pid,comm --format x"),
        ("ps c -- -ef", false, "-ef"),
    ] {
        let args = args.split_whitespace().map(OsString::from).collect();
        assert_eq!(parse(argv).unwrap(), Command::Ps(PsArgs { id: id.clone(), json, args }), "{argv}");
    }
}

#[test]
fn clustered_letters_are_told_apart_from_long_words() {
    let Command::Run(run) = parse("run -db /x c").unwrap() else { panic!() };
    assert!(run.detach);
    assert_eq!(run.create.bundle.as_deref(), Some("/x".as_ref()));
    let Command::Run(run) = parse("run -bundle /x -detach c").unwrap() else { panic!() };
    assert!(run.detach);
    assert_eq!(run.create.bundle.as_deref(), Some("/x".as_ref()));
}

#[test]
fn a_command_to_execute_keeps_its_own_flags() {
    let argv = "exec -t=false -dt --user 5:6 -g 7 --additional-gids=8 -e A=1 --env=B=2 -c kill --cap CAP_CHOWN --cwd / \
                --cgroup x --cgroup cpu,cpuacct:y --preserve-fds 2 --apparmor a --process-label l --no-new-privs \
                --ignore-paused --no-new-keyring -no-subreaper c sh -c x --tty";
    let Command::Exec(args) = parse(argv).unwrap() else { panic!() };
    let command = ExecCommand {
        args: ["sh", "-c", "x", "--tty"].map(str::to_owned).to_vec(),
        cwd: Some("/".into()),
        env: vec!["A=1".to_owned(), "B=2".to_owned()],
        user: Some((5, Some(6))),
        additional_gids: vec![7, 8],
        capabilities: 1 << 5 | 1,
        selinux_label: Some("l".to_owned()),
        apparmor_profile: Some("a".to_owned()),
        no_new_privileges: true,
    };
    let expected = ExecArgs {
        id: "c".parse().unwrap(),
        program: ExecProgram::Command(command),
        tty: true,
        detach: true,
        cgroup: vec!["x".to_owned(), "cpu,cpuacct:y".to_owned()],
        ignore_paused: true,
        console_socket: None,
        pid_file: None,
        pidfd_socket: None,
        preserve_fds: 2,
        no_new_keyring: true,
        no_subreaper: true,
    };
    assert_eq!(args, expected);
}

#[test]
fn a_path_is_a_bundle_and_a_name_is_an_id() {
    for (argv, is_bundle) in [
        ("run ./web", true),
        ("create web/", true),
        ("run /srv/web", true),
        ("run ./", true),
        ("run ../", true),
        ("run web", false),
    ] {
        assert_eq!(matches!(create(argv).target, Target::Bundle(_)), is_bundle, "{argv}");
    }
}

#[test]
fn masks_can_be_dropped_from_the_command_line() {
    assert_eq!(create("run --proc-mount unmasked c").proc_mount, Some(ProcMount::Unmasked));
    assert_eq!(create("create --proc-mount=default c").proc_mount, Some(ProcMount::Default));
    assert_eq!(create("create c").proc_mount, None);
    assert_eq!(create("run --hardened c").hardened, Some(true));
    assert_eq!(create("create -hardened=false c").hardened, Some(false));
    assert_eq!(create("create c").hardened, None);
    let Command::Spec(spec) = parse("spec -proc-mount unmasked -b /b --rootless").unwrap() else { panic!() };
    assert!(spec.proc_mount == Some(ProcMount::Unmasked) && spec.rootless && spec.bundle.is_some());
}

#[test]
fn paths_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let argv = vec!["run".into(), OsString::from_vec(b"--bundle=/\xff".to_vec()), "c".into()];
    let Command::Run(run) = Line::parse(argv).unwrap().command().unwrap() else { panic!() };
    assert_eq!(run.create.bundle.unwrap().into_os_string().into_vec(), b"/\xff");
}

/// Every error is one line that names what is wrong with it.
#[test]
fn errors_of_the_command_line_read_well() {
    let mut out = String::new();
    for argv in [
        "--nonsense list",
        "--nonsense=5 list",
        "-x list",
        "--root",
        "--log-format xml list",
        "--debug=maybe list",
        "frobnicate",
        "exec c",
        "exec --user root c sh",
        "exec --user 1:2:3 c sh",
        "exec --env NAME c sh",
        "exec --cwd here c sh",
        "exec --cap CAP_EVERYTHING c sh",
        "exec --process p.json c sh",
        "exec --additional-gids=staff c sh",
        "checkpoint --help",
        "help restore",
        "create",
        "state",
        "state a b",
        "state a/b",
        "run --root /r c",
        "run --bundle /a ./b",
        "run --preserve-fds -1 c",
        "run --preserve-fds many c",
        "run --proc-mount naked c",
        "run --bundle",
        "run --frob c",
        "kill",
        "kill c KILL now",
        "update --memory lots c",
        "update --cpu-quota 1.5 c",
        "update --resources - --memory 5 c",
        "ps --format yaml c",
        "events --interval 0 c",
        "delete -x c",
        "list --format yaml",
        "features now",
    ] {
        let error = parse(argv).unwrap_err();
        let _ = writeln!(out, "$ urun {argv}\n{error}");
        if let Some(remedy) = error.remedy() {
            let _ = writeln!(out, "hint: {remedy}");
        }
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    golden("cli-errors.txt", include_str!("../../tests/golden/cli-errors.txt"), &out);
}

#[test]
fn help_texts_fit_a_screen() {
    let mut out = String::new();
    let topics = flags::VERBS.iter().map(|verb| format!("help {}", verb.name));
    for argv in std::iter::once("--help".to_owned()).chain(topics) {
        let Command::Help(text) = parse(&argv).unwrap() else { panic!("{argv}") };
        assert!(text.lines().count() <= 36, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        let _ = writeln!(out, "$ urun {argv}\n{text}");
    }
    golden("cli-help.txt", include_str!("../../tests/golden/cli-help.txt"), &out);
    assert_eq!(parse("help").unwrap(), parse("-h").unwrap());
    assert_eq!(parse("help run").unwrap(), parse("run --bundle /x -h c").unwrap());
    assert_eq!(parse("help").unwrap(), parse("").unwrap());
}

/// Compares with a file of tests/golden; `UPDATE_GOLDEN=1` rewrites it.
fn golden(name: &str, expected: &str, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR")), actual).unwrap();
        return;
    }
    assert_eq!(actual, expected, "tests/golden/{name} differs; UPDATE_GOLDEN=1 rewrites it");
}
