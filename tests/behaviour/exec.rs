//! exec: a later process of a container, seen from the host.

use crate::common::*;
use crate::namespaces::pod;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A container that sleeps, started.
fn sleeper(mode: Mode) -> Container {
    Bundle::new(mode).start()
}

fn exec(container: &Container, args: &[&str]) -> Output {
    let (flags, command) = args.split_at(args.iter().position(|word| *word == "::").unwrap_or(0));
    let command = command.strip_prefix(&["::"]).unwrap_or(command);
    container.bundle().call(&[&["exec"], flags, &[container.id()], command].concat())
}

/// A detached process that sleeps, as the host sees it.
fn detached(container: &Container, flags: &[&str]) -> Proc {
    let pid_file = container.bundle().dir().join("exec.pid");
    let pid_file = pid_file.to_str().unwrap();
    let flags = [&["--detach", "--pid-file", pid_file], flags].concat();
    exec(container, &[&flags[..], &["::", "sleep", "100"]].concat()).ok();
    let text = fs::read_to_string(pid_file).unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    Proc(text.parse().unwrap())
}

/// The container's own process, as a document of its own.
fn document(container: &Container, edit: impl FnOnce(&mut Value)) -> String {
    let config = fs::read_to_string(container.bundle().dir().join("config.json")).unwrap();
    let mut process = serde_json::from_str::<Value>(&config).unwrap()["process"].take();
    process["args"] = json!(["sleep", "100"]);
    edit(&mut process);
    let path = container.bundle().dir().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

const SPACES: [&str; 8] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];

in_modes! {
    fn the_process_is_where_the_containers_own_is(mode) {
        let container = sleeper(mode);
        let process = detached(&container, &[]);
        let own = container.proc();
        for kind in SPACES {
            assert_eq!(process.ns(kind), own.ns(kind), "{kind}");
        }
        for field in ["Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
                      "Cpus_allowed_list", "SigIgn", "SigBlk"] {
            assert_eq!(process.status(field), own.status(field), "{field}");
        }
        for file in ["cgroup", "limits", "oom_score_adj", "uid_map"] {
            assert_eq!(process.read(file), own.read(file), "{file}");
        }
        assert_eq!(fs::read_link(process.path("root")).unwrap(), fs::read_link(own.path("root")).unwrap());
        assert_eq!(process.fds(), [0, 1, 2]);
        // A session of its own, and a child of whoever reaps orphans here: nothing stands in between.
        let stat = process.read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!(fields[2..4], [process.0.to_string(), process.0.to_string()], "process group and session");
        container.delete(&["--force"]).ok();
        wait_until("the process is gone", || !process.alive());
        Traces::none_of(container.bundle());
    }
}

in_modes! {
    fn the_exit_code_is_that_of_the_program(mode) {
        let container = sleeper(mode);
        for code in [0, 1, 7, 255] {
            assert_eq!(exec(&container, &["sh", "-c", &format!("exit {code}")]).code, code);
        }
        assert_eq!(exec(&container, &["sh", "-c", "kill -TERM $$"]).code, 143);
        assert_eq!(container.status(), "running");
    }
}

in_modes! {
    fn standard_streams_are_the_callers_own(mode) {
        let container = Bundle::new(mode).stdin("one two\n").start();
        let output = exec(&container, &["sh", "-c", "cat; echo err >&2"]).ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one two\n", "err\n"));
    }
}

in_modes! {
    fn what_no_flag_names_is_as_in_the_container(mode) {
        let container = Bundle::new(mode)
            .with(|config| {
                config["process"]["cwd"] = json!("/tmp");
                config["process"]["env"] = json!(["PATH=/bin", "OWN=1", "CHANGED=old"]);
                config["process"]["oomScoreAdj"] = json!(500);
                config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}]);
            })
            .start();
        let process = detached(&container, &["--env", "CHANGED=new", "-e", "MORE=x"]);
        let env = process.env();
        for entry in ["OWN=1", "CHANGED=new", "MORE=x"] {
            assert!(env.iter().any(|found| found == entry), "{env:?}");
        }
        assert_eq!(env.iter().filter(|entry| entry.starts_with("CHANGED=")).count(), 1, "{env:?}");
        assert!(env.iter().any(|entry| entry.starts_with("HOME=")), "{env:?}");
        assert_eq!(process.read("oom_score_adj").trim(), "500");
        assert_eq!(process.limit("Max open files"), ("99".to_owned(), "100".to_owned()));
        assert_eq!(exec(&container, &["pwd"]).ok().stdout, "/tmp\n");
        assert_eq!(exec(&container, &["--cwd", "/", "::", "pwd"]).ok().stdout, "/\n");
    }
}

in_modes! {
    fn user_and_groups_are_those_that_were_typed(mode) {
        if !mode.many_ids() {
            return;
        }
        let container = sleeper(mode);
        let process = detached(&container, &["--user", "12:34", "-g", "56", "--additional-gids=78"]);
        assert_eq!(process.numbers("Uid"), [mode.host_uid(12); 4]);
        assert_eq!(process.numbers("Gid"), [mode.host_gid(34); 4]);
        let mut groups = process.numbers("Groups");
        groups.sort_unstable();
        assert_eq!(groups, [mode.host_gid(56), mode.host_gid(78)]);
        if mode.userns() {
            exec(&container, &["--user", "99999999", "::", "true"]).refused("no mapping");
        }
    }
}

in_modes! {
    fn a_capability_is_added_and_not_passed_on(mode) {
        let container = Bundle::new(mode)
            .put("/process/capabilities", json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}))
            .start();
        let mask = |process: Proc, set: &str| u64::from_str_radix(&process.caps(set), 16).unwrap();
        let own = container.proc();
        let process = detached(&container, &["--cap", "CAP_SYS_CHROOT", "-c", "net_raw"]);
        for set in ["CapBnd", "CapEff", "CapPrm"] {
            assert_eq!(mask(process, set), mask(own, set) | 1 << 18 | 1 << 13, "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(mask(process, set), 0, "{set}");
        }
        exec(&container, &["--cap", "CAP_NONSENSE", "::", "true"]).refused("unknown capability");
    }
}

in_modes! {
    fn a_document_decides_everything_that_it_names(mode) {
        let container = Bundle::new(mode).put("/process/oomScoreAdj", json!(300)).start();
        let path = document(&container, |process| {
            process["cwd"] = json!("/tmp");
            process["env"] = json!(["PATH=/bin", "ONLY=this"]);
            process["capabilities"] = json!({});
            process["noNewPrivileges"] = json!(true);
            process["user"]["umask"] = json!(0o77);
            process.as_object_mut().unwrap().remove("oomScoreAdj");
        });
        let pid_file = container.bundle().dir().join("exec.pid");
        exec(&container, &["--process", &path, "-d", "--pid-file", pid_file.to_str().unwrap(), "::"]).ok();
        let process = Proc(fs::read_to_string(&pid_file).unwrap().parse().unwrap());
        assert_eq!(process.status("CapEff"), "0000000000000000");
        assert_eq!(process.status("CapBnd"), "0000000000000000");
        assert_eq!(process.status("NoNewPrivs"), "1");
        assert_eq!(process.status("Umask"), "0077");
        assert_eq!(process.read("oom_score_adj").trim(), "300", "what it does not name is as in the container");
        assert!(!process.env().iter().any(|entry| entry.starts_with("container=")));
        assert!(process.env().contains(&"ONLY=this".to_owned()));
        assert!(fs::read_link(process.path("cwd")).unwrap().ends_with("tmp"));
    }
}

#[test]
fn a_document_without_capabilities_has_those_of_the_container() {
    let container = sleeper(Mode::RootUserns);
    let path = document(&container, |process| {
        process.as_object_mut().unwrap().remove("capabilities");
    });
    let pid_file = container.bundle().dir().join("exec.pid");
    exec(&container, &["--process", &path, "-d", "--pid-file", pid_file.to_str().unwrap(), "::"]).ok();
    let process = Proc(fs::read_to_string(&pid_file).unwrap().parse().unwrap());
    assert_eq!(process.caps("CapEff"), container.proc().caps("CapEff"));
    assert_ne!(process.status("CapEff"), "0000000000000000");
}

#[test]
fn a_wrong_document_is_told_with_the_place() {
    let container = sleeper(Mode::RootUserns);
    let path = document(&container, |process| {
        process["args"] = json!([]);
        process["user"]["uid"] = json!(-1);
    });
    let output = exec(&container, &["--process", &path, "::"]).refused_naming(&["args", "user.uid", &path]);
    assert_eq!(output.code, 255);
    assert_eq!(exec(&container, &["--process", "/nowhere.json", "::"]).refused("/nowhere.json").code, 255);
}

in_modes! {
    fn a_program_that_never_ran_leaves_255_and_no_pid_file(mode) {
        let container = sleeper(mode);
        let pid_file = container.bundle().dir().join("exec.pid");
        for (command, phrase) in [
            (&["nothing-of-that-name"][..], "executable file not found in $PATH"),
            (&["/nowhere/program"], "no such file or directory"),
            (&["/etc"], "permission denied"),
            (&["/etc/passwd"], "permission denied"),
        ] {
            // CRI-O puts an empty file there, and conmon takes what is there for a process that runs.
            fs::write(&pid_file, "").unwrap();
            std::os::unix::fs::chown(container.bundle().dir(), Some(mode.caller().0), None).unwrap();
            let flags = ["--pid-file", pid_file.to_str().unwrap(), "--detach", "::"];
            let output = exec(&container, &[&flags, command].concat()).refused(phrase);
            assert_eq!(output.code, 255, "{}", output.stderr);
            assert!(!pid_file.exists(), "{command:?}");
        }
        assert_eq!(container.status(), "running");
    }
}

#[test]
fn nothing_of_a_failed_exec_is_left_in_the_container() {
    let container = sleeper(Mode::RootUserns);
    let count = || exec(&container, &["sh", "-c", "echo /proc/[0-9]*"]).ok().stdout.split(' ').count();
    let before = count();
    exec(&container, &["nothing"]).refused("not found");
    exec(&container, &["--cwd", "/nowhere", "::", "true"]).refused("/nowhere");
    assert_eq!(count(), before);
}

#[test]
fn only_a_container_that_lives_can_be_entered() {
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.call(&["exec", "nobody", "true"]).refused("does not exist");
    let container = sleeper(Mode::RootUserns);
    container.kill("KILL").ok();
    container.wait_stopped();
    let output = exec(&container, &["true"]).refused("cannot exec in a stopped container");
    assert_eq!(output.code, 255);
}

#[test]
fn a_created_container_can_be_entered() {
    let container = Bundle::new(Mode::RootUserns).create();
    assert_eq!(exec(&container, &["sh", "-c", "echo here"]).ok().stdout, "here\n");
    assert_eq!(container.status(), "created");
    container.start();
}

/// Freezes the container's group as an operator would, by hand.
struct Frozen(PathBuf, &'static str);

impl Frozen {
    fn new(container: &Container) -> Self {
        let proc = container.proc();
        if proc.read("cgroup").contains("freezer") {
            let dir = cgroup_dir("freezer", &proc.cgroup("freezer")).unwrap();
            fs::write(dir.join("freezer.state"), "FROZEN").unwrap();
            return Self(dir.join("freezer.state"), "THAWED");
        }
        let dir = cgroup_dir("", &proc.cgroup("")).unwrap();
        fs::write(dir.join("cgroup.freeze"), "1").unwrap();
        Self(dir.join("cgroup.freeze"), "0")
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, self.1);
    }
}

#[test]
fn a_paused_container_is_entered_on_demand_and_then_waited_for() {
    let container = sleeper(Mode::RootUserns);
    let frozen = Frozen::new(&container);
    wait_until("the container is paused", || container.status() == "paused");
    let output = exec(&container, &["true"]);
    output.refused("cannot exec in a paused container (use --ignore-paused to override)");
    let mut command = container.bundle().command(&["exec", "--ignore-paused", container.id(), "true"]);
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let early = child.try_wait().unwrap();
    drop(frozen);
    assert!(early.is_none(), "it waits: {early:?}");
    assert!(child.wait().unwrap().success());
}

in_modes! {
    fn a_terminal_comes_from_the_containers_devpts(mode) {
        let container = sleeper(mode);
        let socket = ConsoleSocket::listen(&container.bundle().dir().join("console"), mode.caller());
        let pid_file = container.bundle().dir().join("exec.pid");
        let flags = ["-t", "-d", "--console-socket", socket.path(), "--pid-file", pid_file.to_str().unwrap(), "::"];
        exec(&container, &[&flags[..], &["sh", "-c", "tty; sleep 100"]].concat()).ok();
        let (name, master) = socket.accept();
        assert!(String::from_utf8(name).unwrap().starts_with("/dev/pts/"));
        let mut master = fs::File::from(master);
        read_until(&mut master, "/dev/pts/");
        let process = Proc(fs::read_to_string(&pid_file).unwrap().parse().unwrap());
        let descriptor = |number: &str| fs::metadata(process.path(&format!("fd/{number}"))).unwrap();
        let devpts = fs::metadata(process.inside("dev/pts")).unwrap();
        for number in ["0", "1", "2"] {
            assert_eq!(descriptor(number).dev(), devpts.dev(), "descriptor {number}");
            assert_eq!(descriptor(number).uid(), mode.host_uid(0));
        }
        assert_eq!(process.fds(), [0, 1, 2]);
        let stat = process.read("stat");
        let terminal = stat.rsplit_once(") ").unwrap().1.split(' ').nth(4).unwrap().to_owned();
        assert_ne!(terminal, "0", "the controlling terminal");
    }
}

fn spawn_on(terminal: &Pty, command: &mut Command) -> Child {
    let side = || Stdio::from(terminal.slave.try_clone().unwrap());
    command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap()
}

#[test]
fn a_terminal_in_the_foreground_is_relayed() {
    let container = sleeper(Mode::RootUserns);
    let mut terminal = Pty::new(33, 44);
    let mut command = container.bundle().command(&[
        "exec",
        "--tty",
        container.id(),
        "sh",
        "-c",
        "stty size; read line; echo got $line; exit 5",
    ]);
    let mut child = spawn_on(&terminal, &mut command);
    terminal.read_until("33 44");
    terminal.master.write_all(b"typed\n").unwrap();
    terminal.read_until("got typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_terminal_has_to_have_somebody_at_the_other_end() {
    let container = sleeper(Mode::RootUserns);
    exec(&container, &["-t", "-d", "::", "true"]).refused("--console-socket");
    exec(&container, &["-d", "--console-socket", "/s", "::", "true"]).refused("--console-socket");
    exec(&container, &["-t", "--console-socket", "/s", "::", "true"]).refused("--console-socket");
    exec(&container, &["-t", "-d", "--console-socket", "/nobody-there", "::", "true"])
        .refused("/nobody-there");
}

#[test]
fn without_a_devpts_there_is_no_terminal() {
    let container = Bundle::new(Mode::RootUserns)
        .with(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/dev/pts");
        })
        .start();
    let terminal = Pty::new(24, 80);
    let mut command = container.bundle().command(&["exec", "--tty", container.id(), "true"]);
    let mut child = spawn_on(&terminal, &mut command);
    assert_eq!(child.wait().unwrap().code(), Some(255));
}

in_modes! {
    fn signals_reach_the_program_in_the_foreground(mode) {
        let container = sleeper(mode);
        let mut command = container.bundle().command(&[
            "exec", container.id(), "sh", "-c", "trap 'exit 9' TERM; touch /tmp/ready; while :; do sleep 0.1; done",
        ]);
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let ready = container.proc().inside("tmp/ready");
        wait_until("the program runs", || ready.exists());
        // sudo or setpriv may stand in front: the runtime is the one that carries the container's id.
        kill(Pid::from_raw(runtime_of(&container, child.id())), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9));
    }
}

#[test]
fn a_program_in_the_foreground_ends_with_a_runtime_that_is_killed() {
    let container = sleeper(Mode::RootUserns);
    let mut command = container.bundle().command(&[
        "exec",
        container.id(),
        "sh",
        "-c",
        "echo $$ > /tmp/pid; exec sleep 100",
    ]);
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let file = container.proc().inside("tmp/pid");
    wait_until("the program runs", || fs::read_to_string(&file).is_ok_and(|text| !text.is_empty()));
    let process = Proc(children(runtime_of(&container, child.id()).cast_unsigned())[0]);
    wait_until("it executes", || process.read("comm").trim() == "sleep");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the program has ended", || !process.alive());
    assert_eq!(container.status(), "running");
}

in_modes! {
    fn the_containers_filter_holds(mode) {
        let container = Bundle::new(mode)
            .put("/linux/seccomp", json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            }))
            .start();
        let process = detached(&container, &[]);
        assert_eq!(process.status("Seccomp"), "2");
        let output = exec(&container, &["mkdir", "/tmp/x"]);
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains("not supported"), "{}", output.stderr);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn the_agent_of_the_filter_is_asked_about_this_process_too(mode) {
        let bundle = Bundle::new(mode);
        let path = bundle.scratch().join("seccomp");
        let listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(mode.caller().0), Some(mode.caller().1)).unwrap();
        let agent = std::thread::spawn(move || {
            [(); 2].map(|()| receive_fd(&listener.accept().unwrap().0))
        });
        let container = bundle
            .put("/linux/seccomp", json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": path,
                "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_NOTIFY"}],
            }))
            .start();
        let process = detached(&container, &[]);
        let [_, (payload, fds)] = agent.join().unwrap();
        let state: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(fds.len(), 1);
        assert_eq!(state["pid"], process.0, "the process that was filtered");
        assert_eq!(state["state"]["pid"], container.proc().0, "the container's first one");
        assert_eq!(state["state"]["status"], "running");
        assert_eq!(process.status("Seccomp"), "2");
    }
}

/// A pod as CRI-O makes it: pinned namespaces, an infra container, a workload in its pid namespace.
#[test]
fn a_container_of_a_pod_is_entered_as_any_other() {
    let pinned = PinnedNamespaces::with(&["--net", "--ipc", "--uts"], Some((131_072, 65536)));
    let infra = pod(&pinned).start();
    let workload = pod(&pinned).namespace("pid", Some(&format!("/proc/{}/ns/pid", infra.proc().0))).start();
    let process = detached(&workload, &[]);
    for kind in SPACES {
        assert_eq!(process.ns(kind), workload.proc().ns(kind), "{kind}");
    }
    assert_eq!(process.ns("pid"), infra.proc().ns("pid"));
    assert_ne!(process.ns("mnt"), infra.proc().ns("mnt"));
    assert_eq!(process.numbers("Uid"), [131_072; 4]);
    // A pid namespace that is not its own: the end of one container leaves the other's processes alone.
    workload.delete(&["--force"]).ok();
    wait_until("the process has ended with its container", || !process.alive());
    assert!(infra.proc().alive());
}

/// `hostNetwork: true` with `hostUsers: false`: the network namespace is the host's, the user namespace is not.
#[test]
fn the_hosts_network_is_kept_where_the_container_has_it() {
    let container = Bundle::new(Mode::RootUserns)
        .with(|config| {
            let spaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            spaces.retain(|space| space["type"] != "network");
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/sys");
        })
        .start();
    let process = detached(&container, &[]);
    assert_eq!(process.ns("net"), Proc(std::process::id()).ns("net"));
    assert_eq!(process.ns("user"), container.proc().ns("user"));
}

#[test]
fn masks_stay_locked_for_a_process_that_enters_with_every_capability() {
    let container = Bundle::new(Mode::RootUserns)
        .put("/linux/maskedPaths", json!(["/proc/keys"]))
        .put("/linux/readonlyPaths", json!(["/proc/sys"]))
        .start();
    let script = "umount /proc/keys; mount -o remount,rw,bind /proc/sys; echo tried";
    let output = exec(&container, &["--cap", "CAP_SYS_ADMIN", "::", "sh", "-c", script]).ok();
    assert!(output.stdout.contains("tried"));
    assert!(container.proc().mounts().iter().any(|mount| mount.point == "/proc/keys"));
    assert!(container.proc().mount("/proc/sys").has("ro"));
}

#[test]
fn descriptors_are_kept_on_demand_and_not_otherwise() {
    let container = sleeper(Mode::RootUserns);
    let bundle = container.bundle();
    let script = |flags: &str| {
        let line = format!(
            "exec 3</dev/null 4</dev/null 5</dev/null; exec {} --root {} exec {flags} {} sh -c 'echo /proc/self/fd/*'",
            subject().1.display(),
            bundle.state_root().display(),
            container.id()
        );
        let output = Command::new("bash").args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!script("").contains("/fd/4"), "{}", script(""));
    let kept = script("--preserve-fds 2");
    assert!(kept.contains("/fd/3") && kept.contains("/fd/4"), "{kept}");
}

#[test]
fn a_group_below_the_containers_own_can_be_chosen() {
    let container = sleeper(Mode::RootUserns);
    let (hierarchy, choice) = match container.proc().read("cgroup").contains("pids") {
        true => ("pids", "pids:below"),
        false => ("", "below"),
    };
    let own = container.proc().cgroup(hierarchy);
    fs::create_dir(cgroup_dir(hierarchy, &own).unwrap().join("below")).unwrap();
    let process = detached(&container, &["--cgroup", choice]);
    assert_eq!(process.cgroup(hierarchy), format!("{own}/below"));
    exec(&container, &["--cgroup", "nothing-there", "::", "true"]).refused("nothing-there");
    exec(&container, &["--cgroup", "../..", "::", "true"]).refused("lead elsewhere");
    kill(Pid::from_raw(process.0.cast_signed()), Signal::SIGKILL).unwrap();
}

#[test]
fn init_that_moved_below_is_followed() {
    let container = sleeper(Mode::RootUserns);
    let own = container.proc().cgroup("");
    let Some(dir) = cgroup_dir("", &own).filter(|dir| dir.join("cgroup.subtree_control").exists()) else {
        return;
    };
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap();
    let below = dir.join("init.scope");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("cgroup.procs"), container.proc().0.to_string()).unwrap();
    // Without a controller there is nothing that would keep processes out of the group itself.
    let expected = match controllers.split_whitespace().next() {
        Some(controller) => {
            fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
            format!("{own}/init.scope")
        }
        None => own,
    };
    assert_eq!(detached(&container, &[]).cgroup(""), expected);
}

#[test]
fn words_of_the_command_line_are_checked() {
    let container = sleeper(Mode::RootUserns);
    for (args, phrase) in [
        (&["::"][..], "a command is needed"),
        (&["--user", "root", "::", "true"], "names are not looked up"),
        (&["--env", "NOVALUE", "::", "true"], "NAME=VALUE"),
        (&["--cwd", "relative", "::", "true"], "not absolute"),
        (&["--process", "/p", "::", "true"], "only one"),
        (&["--nonsense", "::", "true"], "unknown flag --nonsense"),
    ] {
        assert_eq!(exec(&container, args).refused(phrase).code, 255, "{args:?}");
    }
    // Flags end at the id, and a second end is not an argument.
    assert_eq!(exec(&container, &["::", "--", "echo", "-c", "x"]).ok().stdout, "-c x\n");
}

/// The runtime: the child itself, or one below it where something stands in front.
fn runtime_of(container: &Container, child: u32) -> i32 {
    let is_it = |pid: u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        words[0].ends_with("urun") && words.contains(&"exec") && words.contains(&container.id())
    };
    let mut pids = vec![child];
    while let Some(pid) = pids.pop() {
        if is_it(pid) {
            return pid.cast_signed();
        }
        pids.extend(children(pid));
    }
    panic!("no runtime for {} below {child}", container.id());
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}
