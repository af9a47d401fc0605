//! create, start, state, kill, delete, list: the order of a container's life and the words that engines match on.

use crate::common::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

in_modes! {
    fn a_life_from_create_to_delete(mode) {
        let container = Bundle::new(mode).create();
        assert_eq!(container.status(), "created");
        container.start();
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        container.wait_stopped();
        assert_eq!(container.state()["pid"], 0);
        container.delete(&[]).ok();
        Traces::none_of(container.bundle());
        container.call("state", &[]).refused("does not exist");
    }
}

in_modes! {
    fn the_state_says_everything(mode) {
        let container = Bundle::new(mode).put("/annotations/colour", json!("blue")).create();
        let output = container.call("state", &[]).ok();
        assert_eq!(output.stderr, "");
        let state: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(state["id"], container.id());
        assert_eq!(state["bundle"], json!(container.bundle().dir()));
        assert_eq!(state["rootfs"], json!(container.bundle().rootfs_dir()));
        assert_eq!(state["annotations"]["colour"], "blue");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
        assert!(state["owner"].is_string());
        let created = state["created"].as_str().unwrap();
        assert!(created.len() >= 20 && created.contains('T') && (created.ends_with('Z') || created.contains('+')), "{created}");
        assert!(Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap()).alive());
    }
}

in_modes! {
    fn run_returns_the_code_of_the_process(mode) {
        for code in [0, 1, 7, 255] {
            assert_eq!(Bundle::new(mode).sh(&format!("exit {code}")).run().code, code);
        }
        let bundle = Bundle::new(mode).sh("kill -TERM $$; sleep 5");
        // The first process of a pid namespace is safe from itself, so a child does the dying.
        assert_eq!(bundle.sh("sh -c 'kill -TERM $$'; exit $?").run().code, 143);
    }
}

in_modes! {
    fn run_leaves_nothing_behind(mode) {
        let bundle = Bundle::new(mode).args(["true"]);
        bundle.run().ok();
        Traces::none_of(&bundle);
        bundle.call(&["state", bundle.id()]).refused("does not exist");
    }
}

in_modes! {
    fn standard_streams_are_the_callers_own(mode) {
        let output = Bundle::new(mode).stdin("one two\n").sh("cat; echo err >&2").run().ok();
        assert_eq!(output.stdout, "one two\n");
        assert_eq!(output.stderr, "err\n");
    }
}

#[test]
fn errors_have_the_words_that_engines_match_on() {
    let container = Bundle::new(Mode::RootUserns).create();
    container.bundle().try_create(&[]).refused("exist");
    if subject().0 == Subject::Urun {
        container.bundle().try_create(&[]).refused("container with given ID already exists");
    }
    container.start();
    let again = container.call("start", &[]);
    if subject().0 == Subject::Urun {
        again.refused("cannot start an already running container");
        container.delete(&[]).refused("that is not stopped: running");
    } else {
        assert_ne!(again.code, 0);
        assert_ne!(container.delete(&[]).code, 0);
    }
    assert_eq!(container.status(), "running", "a refused delete changes nothing");
    container.kill("KILL").ok();
    container.wait_stopped();
    let (dead, again) = (container.kill("TERM"), container.call("start", &[]));
    if subject().0 == Subject::Urun {
        dead.refused("container not running");
        again.refused("cannot start a container that has stopped");
    } else {
        assert_ne!((dead.code, again.code), (0, 0));
    }
}

#[test]
fn a_container_that_does_not_exist_is_said_to() {
    let bundle = Bundle::new(Mode::Root);
    for verb in ["state", "start", "kill", "delete"] {
        bundle.call(&[verb, "nobody"]).refused("does not exist");
    }
    bundle.call(&["delete", "--force", "nobody"]).ok();
}

#[test]
fn a_refused_create_changes_nothing_about_the_first_container() {
    let container = Bundle::new(Mode::RootUserns).start();
    assert_ne!(container.bundle().try_create(&[]).code, 0);
    assert_eq!(container.status(), "running");
    assert!(container.proc().alive());
}

#[test]
fn ids_that_are_not_names_are_refused() {
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    for id in ["..", ".", "", "a/../../b", "sp ace", "new\nline", "/abs"] {
        let output = bundle.call(&["create", id]);
        assert_ne!(output.code, 0, "{id:?}");
    }
    if !only_ours("their words differ") {
        bundle.call(&["state", "sp ace"]).refused("invalid container ID format");
    }
}

in_modes! {
    fn created_containers_may_be_killed_and_deleted(mode) {
        let container = Bundle::new(mode).create();
        container.kill("KILL").ok();
        container.wait_stopped();
        container.delete(&[]).ok();
        let container = Bundle::new(mode).create();
        container.delete(&["--force"]).ok();
        Traces::none_of(container.bundle());
    }
}

in_modes! {
    fn delete_by_force_kills_a_running_container(mode) {
        let container = Bundle::new(mode).start();
        container.delete(&["--force"]).ok();
        assert!(!container.proc().alive());
        Traces::none_of(container.bundle());
        container.delete(&["-f"]).ok();
    }
}

in_modes! {
    [root_userns rootless_one]
    fn signals_are_known_by_number_and_name(mode) {
        let script = "for s in HUP USR1 USR2; do trap \"echo $s\" $s; done; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
        let container = Bundle::new(mode).sh(script).start();
        container.wait_for("ready");
        for (signal, name) in [("1", "HUP"), ("USR1", "USR1"), ("SIGUSR2", "USR2")] {
            container.kill(signal).ok();
            container.wait_for(&format!("{name}\n"));
        }
        if subject().0 == Subject::Urun {
            container.kill("sigusr1").ok();
            container.kill("usr1").ok();
            wait_until("lower case works", || container.output().matches("USR1").count() >= 2);
        }
        container.kill("NOSUCH").refused_naming(&["NOSUCH"]);
        container.call("kill", &[]).ok();
        container.wait_stopped();
    }
}

#[test]
fn real_time_signals_are_sent() {
    let container = Bundle::new(Mode::RootUserns)
        .sh("trap 'exit 5' 40; echo ready; while :; do sleep 0.05; done")
        .start();
    container.wait_for("ready");
    container.kill("40").ok();
    container.wait_stopped();
}

#[test]
fn kill_all_succeeds_on_a_stopped_container() {
    let container = Bundle::new(Mode::RootUserns).start();
    container.kill("KILL").ok();
    container.wait_stopped();
    if subject().0 == Subject::Crun {
        return;
    }
    container.bundle().call(&["kill", "--all", container.id(), "9"]).ok();
    container.bundle().call(&["kill", "-a", container.id(), "KILL"]).ok();
}

#[test]
fn kill_nine_without_pid_namespace_reaches_every_process() {
    let mut bundle = Bundle::new(Mode::Root).namespace("pid", None);
    bundle = bundle
        .with(|config| config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/proc"));
    bundle = bundle
        .mount("bind", "/proc", "/proc", &["rbind"])
        .put("/linux/maskedPaths", json!([]))
        .put("/linux/readonlyPaths", json!([]));
    let container = bundle.sh("sleep 600 & echo child $!; exec sleep 600").start();
    container.wait_for("child");
    let child: u32 = container.output().trim().rsplit(' ').next().unwrap().parse().unwrap();
    if only_ours("the others kill init alone, runc since 1.2 all") {
        return;
    }
    container.kill("9").ok();
    wait_until("the child has died too", || !Proc(child).alive());
}

in_modes! {
    [root_userns rootless_range]
    fn the_pid_file_holds_the_pid_and_nothing_else(mode) {
        let bundle = Bundle::new(mode);
        let file = bundle.scratch().dir("pid", mode.caller(), 0o755).join("file");
        let container = bundle.create_with(&["--pid-file", file.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), container.proc().0.to_string());
    }
}

#[test]
fn a_failed_create_leaves_no_pid_file() {
    let bundle = Bundle::new(Mode::RootUserns).args(["/no/such/program"]);
    let file = bundle.scratch().join("pid");
    let output = bundle.try_create(&["--pid-file", file.to_str().unwrap()]);
    assert_ne!(output.code, 0);
    assert!(!file.exists());
}

in_modes! {
    fn run_detached_returns_while_the_container_runs(mode) {
        let bundle = Bundle::new(mode);
        bundle.write();
        bundle.call(&["run", "--detach", bundle.id()]).ok();
        let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
        assert_eq!(state["status"], "running");
    }
}

#[test]
fn run_with_keep_leaves_a_stopped_container() {
    if subject().0 == Subject::Crun {
        return; // crun 1.8 has no --keep
    }
    let bundle = Bundle::new(Mode::RootUserns).args(["true"]);
    bundle.run_with(&["--keep"]).ok();
    let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    assert_eq!(state["status"], "stopped");
    bundle.call(&["delete", bundle.id()]).ok();
    Traces::none_of(&bundle);
}

#[test]
fn run_forwards_signals_to_the_process() {
    let bundle = Bundle::new(Mode::RootUserns)
        .sh("trap 'exit 42' TERM; echo ready > /tmp/ready; while :; do sleep 0.05; done");
    bundle.write();
    let mut child = bundle.command(&["run", bundle.id()]).spawn().unwrap();
    wait_until("it is ready", || bundle.rootfs_dir().join("tmp/ready").exists());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

/// A call with a descriptor of the test on `number` in the runtime.
fn with_fds(bundle: &Bundle, fds: &[(OwnedFd, u32)], env: &[(&str, &str)], args: &[&str]) -> Output {
    bundle.write();
    let inner = bundle.command(args);
    let moves: Vec<String> = fds.iter().map(|(fd, to)| format!("{to}<&{}", fd.as_raw_fd())).collect();
    let script = format!("exec \"$@\" {}", moves.join(" "));
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bundle.dir());
    shell.envs(env.iter().copied()).env("XDG_RUNTIME_DIR", bundle.scratch().join("run"));
    bundle.call_command(shell)
}

fn inheritable(path: &std::path::Path) -> OwnedFd {
    let fd: OwnedFd = std::fs::File::open(path).unwrap().into();
    let flags = nix::fcntl::FcntlArg::F_DUPFD(100);
    let raw = nix::fcntl::fcntl(&fd, flags).unwrap();
    // SAFETY: the kernel just made this descriptor for this call.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(raw) }
}

#[test]
fn no_descriptor_of_the_caller_leaks() {
    let bundle = Bundle::new(Mode::RootUserns);
    let file = bundle.scratch().file("note", "x", (0, 0), 0o644);
    let fds = [(inheritable(&file), 3), (inheritable(&file), 7)];
    with_fds(&bundle, &fds, &[], &["run", "-d", bundle.id()]).ok();
    let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    let process = Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
    wait_until("the program runs", || process.read("cmdline").starts_with("sleep"));
    assert_eq!(process.fds(), [0, 1, 2]);
}

#[test]
fn preserved_descriptors_arrive_and_only_they() {
    let bundle = Bundle::new(Mode::RootUserns).sh("cat <&4; exec sleep 600");
    let file = bundle.scratch().file("note", "preserved\n", (0, 0), 0o644);
    let fds = [(inheritable(&file), 3), (inheritable(&file), 4), (inheritable(&file), 9)];
    let output = with_fds(&bundle, &fds, &[], &["run", "-d", "--preserve-fds", "2", bundle.id()]).ok();
    wait_until("it has read", || std::fs::read_to_string(&output.files[0]).unwrap() == "preserved\n");
    let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    let process = Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
    wait_until("the program runs", || process.read("cmdline").starts_with("sleep"));
    assert_eq!(process.fds(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_hole_among_the_preserved_descriptors_stays_a_hole() {
    if subject().0 == Subject::Runc {
        return; // runc fails
    }
    let bundle = Bundle::new(Mode::RootUserns).sh("ls /proc/self/fd; cat <&5");
    let file = bundle.scratch().file("note", "sparse\n", (0, 0), 0o644);
    let output =
        with_fds(&bundle, &[(inheritable(&file), 5)], &[], &["run", "--preserve-fds", "4", bundle.id()]).ok();
    assert_eq!(
        output.stdout.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3", "5", "sparse"],
        "3 is ls itself"
    );
}

#[test]
fn sockets_of_systemd_are_passed_on() {
    let bundle = Bundle::new(Mode::RootUserns).sh("cat <&3; echo $LISTEN_FDS $LISTEN_PID");
    let file = bundle.scratch().file("note", "activated\n", (0, 0), 0o644);
    bundle.write();
    let inner = bundle.command(&["run", bundle.id()]);
    let fd = inheritable(&file);
    let mut shell = Command::new("bash");
    // LISTEN_PID has to be the runtime's own pid, which is the shell's.
    let script = format!("export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<&{}", fd.as_raw_fd());
    shell
        .args(["-c", &script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bundle.dir());
    shell.env("XDG_RUNTIME_DIR", bundle.scratch().join("run"));
    let output = bundle.call_command(shell).ok();
    if subject().0 == Subject::Crun {
        assert!(output.stdout.starts_with("activated\n"));
    } else {
        assert_eq!(output.stdout, "activated\n1 1\n");
    }
}

#[test]
fn a_pidfd_of_the_process_is_sent() {
    if only_ours("runc 1.2 and later") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let socket = ConsoleSocket::listen(&bundle.scratch().join("pidfd"), (0, 0));
    let container = bundle.create_with(&["--pidfd-socket", socket.path()]);
    let (_, fd) = socket.accept();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
    assert_eq!(pid, container.proc().0.to_string());
}

in_modes! {
    [root_userns rootless_range]
    fn list_shows_all_containers_of_the_root(mode) {
        let container = Bundle::new(mode).start();
        let bundle = container.bundle();
        let ids = bundle.call(&["list", "-q"]).ok();
        assert_eq!(ids.text(), container.id());
        let list: Value = serde_json::from_str(&bundle.call(&["list", "-f", "json"]).ok().stdout).unwrap();
        assert_eq!(list[0]["id"], container.id());
        assert_eq!(list[0]["status"], "running");
        assert_eq!(list[0]["pid"], container.proc().0);
        let table = bundle.call(&["list"]).ok();
        let row: Vec<&str> = table.stdout.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..3], [container.id(), &container.proc().0.to_string(), "running"]);
        assert_eq!(row[3], bundle.dir().to_str().unwrap());
    }
}

#[test]
fn an_empty_list_is_json_too() {
    let output = Bundle::new(Mode::Root).call(&["list", "--format", "json"]).ok();
    let list: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(list.is_null() || list.as_array().unwrap().is_empty(), "{list}");
}

#[test]
fn the_version_has_the_lines_that_engines_read() {
    let output = Bundle::new(Mode::Root).call(&["--version"]).ok();
    let mut lines = output.stdout.lines();
    assert!(lines.next().unwrap().contains(" version "), "{}", output.stdout);
    if subject().0 == Subject::Urun {
        assert!(output.stdout.starts_with("urun version "), "{}", output.stdout);
        assert_eq!(output.stdout.lines().filter(|line| line.contains("version")).count(), 1);
    }
    assert!(output.stdout.lines().any(|line| line.starts_with("commit: ")), "{}", output.stdout);
    assert!(output.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{}", output.stdout);
}

#[test]
fn a_zombie_is_stopped() {
    let bundle = Bundle::new(Mode::RootUserns);
    // The test is no subreaper, so init's parent is whoever reaps; a container that ended is stopped at once.
    let container = bundle.sh("exit 0").create();
    container.start_and_end();
    container.wait_stopped();
    container.delete(&[]).ok();
}

#[test]
fn changes_of_the_configuration_after_create_mean_nothing() {
    let container = Bundle::new(Mode::RootUserns).sh("echo first; exec sleep 600").create();
    std::fs::write(container.bundle().dir().join("config.json"), "{}").unwrap();
    container.start();
    container.wait_for("first");
    container.kill("KILL").ok();
    container.wait_stopped();
    container.delete(&[]).ok();
}

#[test]
fn the_bundle_may_be_named_or_be_the_current_directory() {
    let bundle = Bundle::new(Mode::RootUserns).args(["true"]);
    bundle.write();
    for flag in [&["-b"][..], &["--bundle"]] {
        let mut command = bundle.command(&[&["run"], flag, &["bundle", bundle.id()]].concat());
        command.current_dir(bundle.scratch().path());
        bundle.call_command(command).ok();
    }
    if only_ours("their parsers differ") {
        return;
    }
    let mut command = bundle.command(&["run", "--bundle=bundle", bundle.id()]);
    command.current_dir(bundle.scratch().path());
    bundle.call_command(command).ok();
}

#[test]
fn a_directory_is_enough_by_hand() {
    if only_ours("ours") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).sh("echo by hand");
    bundle.write();
    let mut command = bundle.command(&["run", "./bundle"]);
    command.current_dir(bundle.scratch().path());
    assert_eq!(bundle.call_command(command).ok().text(), "by hand");
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let id = bundle.call(&["run", "-d", bundle.dir().to_str().unwrap()]).ok();
    let state: Value = serde_json::from_str(&bundle.call(&["state", id.text()]).ok().stdout).unwrap();
    assert_eq!(state["status"], "running");
    bundle.call(&["delete", "--force", id.text()]).ok();
}

#[test]
fn start_reports_a_program_that_cannot_be_executed() {
    if only_ours("no other runtime does") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).args(["/bin/late"]);
    let late = bundle.rootfs_dir().join("bin/late");
    crate::common::copy_program("/bin/busybox".as_ref(), &late);
    std::os::unix::fs::chown(&late, Some(131_072), Some(131_072)).unwrap();
    let container = bundle.create();
    std::fs::remove_file(&late).unwrap();
    container.call("start", &[]).refused("/bin/late");
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    let bundle = Bundle::new(Mode::RootUserns);
    let dir = bundle.dir();
    let _ = std::fs::remove_file(dir.join("config.json"));
    bundle.call(&["spec"]).ok();
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["root"]["path"], "rootfs");
    let again = bundle.call(&["spec"]);
    assert_ne!(again.code, 0, "it overwrote config.json");
    if subject().0 == Subject::Urun {
        assert!(config["linux"]["namespaces"].to_string().contains("user"), "{config}");
        assert_eq!(config["linux"]["uidMappings"][0]["size"], 65536);
    }
}

in_modes! {
    [root rootless_range rootless_one]
    fn spec_and_run_give_root_inside_and_nobody_outside(mode) {
        if only_ours("their spec has no user namespace") {
            return;
        }
        let bundle = Bundle::new(mode);
        bundle.call(&["spec"]).ok();
        let path = bundle.dir().join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let host = config["linux"]["uidMappings"][0]["hostID"].as_u64().unwrap();
        assert_ne!(host, 0);
        own(&bundle, u32::try_from(host).unwrap());
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "600"]);
        std::fs::write(&path, config.to_string()).unwrap();
        bundle.call(&["run", "-d", bundle.id()]).ok();
        let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
        let process = Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
        assert_eq!(u64::from(process.numbers("Uid")[0]), host);
        assert_eq!(process.map("uid_map")[0][0], 0);
    }
}

fn own(bundle: &Bundle, host: u32) {
    let done = Command::new("chown")
        .arg("-Rh")
        .arg(format!("{host}:{host}"))
        .arg(bundle.rootfs_dir())
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn features_are_json_and_nothing_on_standard_error() {
    if subject().0 == Subject::Crun {
        return; // crun 1.8 has none
    }
    let output = Bundle::new(Mode::Root).call(&["features"]).ok();
    assert_eq!(output.stderr, "");
    let features: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    if subject().0 == Subject::Urun {
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        let options = features["mountOptions"].as_array().unwrap();
        for option in ["rro", "idmap", "ridmap", "tmpcopyup", "copy-symlink", "rbind"] {
            assert!(options.contains(&json!(option)), "{option}");
        }
        let kinds = features["linux"]["namespaces"].as_array().unwrap();
        assert!(kinds.contains(&json!("user")) && kinds.contains(&json!("time")));
    }
}

#[test]
fn global_flags_may_be_repeated_and_written_in_every_way() {
    if only_ours("the union of all parsers") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    let (root, id) = (container.bundle().state_root(), container.id().to_owned());
    let root = root.to_str().unwrap();
    let equals = format!("--root={root}");
    for args in [
        vec!["--root", "/nowhere", "--root", root, "state", &id],
        vec![equals.as_str(), "--systemd-cgroup", equals.as_str(), "--systemd-cgroup", "state", &id],
        vec!["-root", root, "state", &id],
        vec![
            "--debug=false",
            "--rootless=auto",
            "--log-format",
            "json",
            "--log=/dev/null",
            &equals,
            "state",
            &id,
        ],
        vec!["--cgroup-manager", "disabled", &equals, "state", &id],
        vec!["--criu", "criu", &equals, "state", &id],
    ] {
        let mut command = Mode::Root.command(&subject().1, container.bundle().dir().as_path(), None);
        command.args(&args);
        let output = container.bundle().call_command(command);
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr);
    }
}

#[test]
fn an_unknown_flag_is_named_in_one_line() {
    let output = Bundle::new(Mode::Root).call(&["state", "--no-such-flag", "x"]);
    assert_ne!(output.code, 0);
    if subject().0 == Subject::Urun {
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains("--no-such-flag"), "{}", output.stderr);
        assert!(output.stderr.lines().count() <= 2, "{}", output.stderr);
    }
}

#[test]
fn containers_are_chosen_by_regular_expression() {
    if subject().0 == Subject::Runc {
        return; // it has no such flag
    }
    let bundle = Bundle::new(Mode::RootUserns).args(["sleep", "600"]).with(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    let ids = ["a", "b"].map(|letter| format!("{}-{letter}", bundle.id()));
    bundle.write();
    for id in &ids {
        bundle.call(&["run", "-d", id]).ok();
    }
    let ours = format!("^{}-[ab]$", bundle.id());
    bundle.call(&["delete", "--regex", &ours]).refused_naming(&["not stopped"]);
    bundle.call(&["kill", "--regex", "no-such-container", "KILL"]).ok();
    bundle.call(&["kill", "-r", &ours, "KILL"]).ok();
    bundle.call(&["delete", "--force", "--regex", &ours]).ok();
    assert_eq!(bundle.call(&["list", "-q"]).ok().stdout, "");
    bundle.call(&["delete", "-r", "("]).refused_naming(&["regular expression"]);
}

#[test]
fn a_container_that_was_refused_a_group_in_use_leaves_its_user_alone() {
    if only_ours("the others put both into one group") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).args(["sleep", "600"]);
    let first = bundle.start();
    let second = format!("{}-second", first.id());
    let patience = deadline(5);
    first.bundle().call(&["run", "-d", &second]).refused_naming(&["container's cgroup is not empty"]);
    assert!(std::time::Instant::now() < patience, "it waited for a group that is not its own");
    assert_eq!(first.bundle().call(&["list", "-q"]).ok().stdout.trim(), first.id());
    first.bundle().call(&["delete", "--force", &second]).ok();
    assert!(first.proc().status("State").starts_with('S'), "the first container lives on");
}
