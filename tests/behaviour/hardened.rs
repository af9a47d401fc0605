//! `--hardened` and the annotation: every item, in init and in what is executed later, seen from the host.

use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const FLAG: &[&str] = &["--hardened"];

/// A container that asks for all that hardening takes away.
fn loose(mode: Mode) -> Bundle {
    let all = json!(DEFAULT_CAPS);
    Bundle::new(mode).put("/process/noNewPrivileges", json!(false)).put(
        "/process/capabilities",
        json!({"bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": all}),
    )
}

fn started(bundle: Bundle, flags: &[&str]) -> Container {
    let container = bundle.create_with(flags);
    container.start();
    container
}

fn exec(container: &Container, args: &[&str]) -> Output {
    container.bundle().call(&[&["exec"], args].concat())
}

/// A process of `exec` that sleeps, of a document with what the container's own asks for.
fn executed(container: &Container) -> Proc {
    let dir = container.bundle().dir();
    let mut process = container.bundle().config["process"].clone();
    process["args"] = json!(["sleep", "100"]);
    let (document, pid) = (dir.join("process.json"), dir.join("exec.pid"));
    fs::write(&document, process.to_string()).unwrap();
    let flags = ["--detach", "--process", document.to_str().unwrap(), "--pid-file", pid.to_str().unwrap()];
    exec(container, &[&flags[..], &[container.id()]].concat()).ok();
    Proc(fs::read_to_string(pid).unwrap().parse().unwrap())
}

fn annotated(bundle: Bundle, value: &str) -> Bundle {
    bundle.put("/annotations", json!({"io.urun.hardened": value}))
}

const NO_CAPS: &str = "0000000000000000";

fn is_hardened(process: Proc) -> [bool; 3] {
    [process.status("NoNewPrivs") == "1", process.caps("CapAmb") == NO_CAPS, process.filters() > 0]
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn no_process_can_gain_privileges_whatever_its_document_says(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        for (bundle, flags) in [(loose(mode), FLAG), (annotated(loose(mode), "true"), &[]),
                                (annotated(loose(mode), "false"), FLAG)] {
            let container = started(bundle, flags);
            assert_eq!(is_hardened(container.proc()), [true; 3], "{flags:?}");
            assert_eq!(is_hardened(executed(&container)), [true; 3], "{flags:?} exec");
        }
        for (bundle, flags) in [(loose(mode), &[][..]), (annotated(loose(mode), "false"), &[]),
                                (annotated(loose(mode), "true"), &["--hardened=false"])] {
            let container = started(bundle, flags);
            assert_eq!(is_hardened(container.proc()), [false; 3], "{flags:?}");
            assert_eq!(is_hardened(executed(&container)), [false; 3], "{flags:?} exec");
        }
    }
}

/// `user.max_user_namespaces` of the process's user namespace, read from the host.
fn limit(process: Proc) -> String {
    let pid = process.0.to_string();
    let output = Command::new("nsenter")
        .args(["--user", "--target", &pid, "cat", "/proc/sys/user/max_user_namespaces"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn nobody_inside_makes_a_user_namespace(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let before = limit(Proc(std::process::id()));
        let bundle = loose(mode).put("/linux/sysctl", json!({"user/max_user_namespaces": "7"}));
        let container = started(bundle.sh("unshare -U true; echo $?; exec sleep 600"), FLAG);
        container.wait_for("No space left on device");
        exec(&container, &[container.id(), "unshare", "-U", "true"]).refused("No space left on device");
        assert_eq!(limit(container.proc()), "0");
        assert_eq!(limit(Proc(std::process::id())), before);
    }
}

#[test]
fn a_pod_is_limited_as_a_whole() {
    if only_ours("the flag is ours") {
        return;
    }
    let pinned = PinnedNamespaces::with(&["--ipc"], Some((131_072, 65536)));
    let bundle = Bundle::new(Mode::RootUserns).namespace("user", Some(&pinned.path("user")));
    let container = started(bundle, FLAG);
    assert_eq!(container.proc().ns("user"), Proc(pinned.pid()).ns("user"));
    assert_eq!(limit(Proc(pinned.pid())), "0");
}

/// What is in the container's /proc beside its processes.
fn shown(container: &Container) -> Vec<String> {
    let entries = fs::read_dir(container.proc().inside("proc")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.parse::<u32>().is_err());
    names.sort();
    names
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn proc_shows_processes_alone(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let container = started(Bundle::new(mode), FLAG);
        assert_eq!(shown(&container), ["self", "thread-self"]);
        assert!(container.proc().mount("/proc").super_has("subset=pid"));
        assert!(container.proc().inside("proc/1/status").exists());
        let comm = exec(&container, &[container.id(), "cat", "/proc/thread-self/comm"]).ok();
        assert_eq!(comm.text(), "cat");
    }
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn nobody_mounts_a_proc_that_shows_everything(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let mount = "mount -t proc proc /mnt && ls /mnt; umount -l /proc/thread-self; mount -t proc proc /mnt && ls /mnt";
        let bundle = Bundle::new(mode).put("/process/capabilities", caps(&["CAP_SYS_ADMIN"]));
        let container = started(bundle.sh(&format!("({mount}) 2>&1; echo done; exec sleep 600")), FLAG);
        container.wait_for("done");
        let script = ["--cap", "CAP_SYS_ADMIN", container.id(), "sh", "-c", mount];
        let output = exec(&container, &script);
        for said in [container.output(), output.stdout] {
            assert!(!said.contains("kcore") && !said.contains("uptime"), "{said}");
        }
        assert!(!container.proc().mounts().iter().any(|mount| mount.point == "/mnt"));
    }
}

#[test]
fn proc_stays_whole_where_the_configuration_mounts_in_it_and_the_log_says_so() {
    if only_ours("the flag is ours") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns)
        .mount("bind", "/etc/hostname", "/proc/cpuinfo", &["bind", "ro"])
        .args(["cat", "/proc/cpuinfo"]);
    let log = bundle.scratch().join("io/log");
    bundle.write();
    let flags = ["--log", log.to_str().unwrap(), "--log-level", "warning", "run", "--hardened", bundle.id()];
    let output = bundle.call(&flags).ok();
    assert_eq!(output.stdout, fs::read_to_string("/etc/hostname").unwrap());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("mounts[0]: hardened") && log.contains("/proc/cpuinfo"), "{log}");
}

/// Programs that refuse to be filtered any more, and let everything pass that is an ioctl.
fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["ioctl"], "action": "SCMP_ACT_LOG"},
            {"names": ["seccomp", "prctl"], "action": "SCMP_ACT_ERRNO"},
        ],
    })
}

fn with_terminal(mode: Mode) -> Bundle {
    Bundle::new(mode).args(["terminal"]).rootfs(|root| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/hardened.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-static", "-no-pie", "-o"]).arg(root.join("bin/terminal")).arg(source);
        assert!(gcc.status().unwrap().success());
    })
}

/// `sti=1 high=1 …` by name.
fn answers(text: &str) -> Vec<(String, i32)> {
    let pair = |word: &str| {
        let (name, number) = word.split_once('=').unwrap();
        (name.to_owned(), number.parse().unwrap())
    };
    text.split_whitespace().map(pair).collect()
}

/// Every request but one is refused before the kernel looks at it.
#[track_caller]
fn guarded(text: &str) {
    let answers = answers(text);
    assert_eq!(answers.len(), 7, "{text}");
    for (name, errno) in answers {
        match name.as_str() {
            "size" | "waiting" => assert_eq!(errno, 0, "{text}"),
            "compat" => assert!([1, -1].contains(&errno), "{text}"),
            _ => assert_eq!(errno, 1, "{text}"),
        }
    }
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn nobody_types_into_the_terminal(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let open = answers(with_terminal(mode).run().ok().text());
        for (name, errno) in &open {
            assert!(name == "waiting" || *errno != 1, "without the flag nothing of it is EPERM: {open:?}");
        }
        guarded(with_terminal(mode).run_with(FLAG).ok().text());
        guarded(with_terminal(mode).put("/linux/seccomp", profile()).run_with(FLAG).ok().text());
        for seccomp in [Value::Null, profile()] {
            let sleeps = with_terminal(mode).put("/linux/seccomp", seccomp.clone()).args(["sleep", "600"]);
            let container = started(sleeps, FLAG);
            assert_eq!(container.proc().filters(), if seccomp.is_null() { 1 } else { 2 });
            guarded(exec(&container, &[container.id(), "terminal"]).ok().text());
        }
    }
}
