//! A process on its way into a container that lives and is hostile (SEC-20 to SEC-24 and SEC-32, exec).

use crate::common::{
    Bundle, Container, Mode, Output, Proc, deadline, in_modes, only_ours, subject, wait_until,
};
use crate::leaks::{is_whole, leak};
use serde_json::json;
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How many times a process enters while somebody looks; bounded by [`TIME`] as well.
const ROUNDS: u32 = 500;
/// How long a race may take.
const TIME: Duration = Duration::from_secs(10);

fn exec(container: &Container, flags: &[&str], command: &[&str]) -> Output {
    container.bundle().call(&[&["exec"], flags, &[container.id()], command].concat())
}

in_modes! {
    /// CVE-2019-5736: the image's program is the runtime itself, and a neighbour tries to write to what it executes.
    [root root_userns rootless_range]
    fn sec_20_exec_of_the_runtime_does_not_give_its_file_away(mode) {
        if only_ours("another runtime's file would be the machine's own") {
            return;
        }
        let binary = subject().1;
        let before = fs::read(&binary).unwrap();
        // Nobody writes to what is executed just now: it is held, and written to when its process has ended.
        let script = "while :; do for p in /proc/[0-9]*; do case $(cat $p/comm 2>&1) in urun*|memfd*|exe|evil|[0-9]*) \
                      [ -e /held ] || (exec 9<$p/exe && touch /held && while sleep 0.01; do echo evil >/proc/self/fd/9; \
                      done) 2>/dev/null & esac; done; done";
        let powers = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_CHOWN"]);
        let container = Bundle::new(mode)
            .rootfs(|root| {
                let script = root.join("bin/evil");
                fs::write(&script, "#!/proc/self/exe\n").unwrap();
                fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            })
            .put("/process/capabilities", json!({"bounding": powers, "effective": powers, "permitted": powers}))
            .sh(script)
            .start();
        let (end, held) = (deadline(5), container.proc().inside("held"));
        for rounds in 0.. {
            exec(&container, &[], &["/bin/evil"]);
            exec(&container, &[], &["/proc/self/exe", "--version"]);
            if rounds >= 10 && (held.exists() || Instant::now() > end) {
                break;
            }
        }
        assert!(held.exists() || mode.rootless(), "nothing was held, which proves nothing");
        std::thread::sleep(Duration::from_millis(100));
        is_whole(&binary, &before);
    }
}

in_modes! {
    /// CVE-2024-21626: `exec --cwd` into a directory of the host that the runtime still holds.
    [root root_userns rootless_range]
    fn sec_21_exec_never_works_outside(mode) {
        let container = Bundle::new(mode)
            .rootfs(|root| std::os::unix::fs::symlink("/proc/self/fd/4/..", root.join("link")).unwrap())
            .start();
        for number in 3..16 {
            for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../..")] {
                assert_ne!(exec(&container, &["--cwd", &cwd], &["true"]).code, 0, "cwd {cwd}");
            }
        }
        assert_ne!(exec(&container, &["--cwd", "/link"], &["true"]).code, 0);
    }
}

in_modes! {
    /// A directory that is gone has no name to go up from, and nothing above the container's root can be reached by going up.
    fn sec_21_a_deleted_directory_and_many_parents_stay_inside(mode) {
        let bundle = Bundle::new(mode).put("/process/cwd", json!("/work"));
        let container = bundle
            .rootfs(|root| {
                fs::create_dir(root.join("work")).unwrap();
                fs::write(root.join("inside"), "").unwrap();
            })
            .sh("rmdir /work; echo gone; exec sleep 600")
            .start();
        container.wait_for("gone");
        let up = "/..".repeat(30);
        for cwd in [
            up.clone(), format!("/work{up}"), format!("/proc/1/cwd{up}"), "/proc/1/cwd".to_owned(), format!("/proc/self/cwd{up}"),
            format!("/proc/1/root{up}"), "/work".to_owned(),
        ] {
            let output = exec(&container, &["--cwd", &cwd], &["sh", "-c", &format!("ls .{up}; ls /")]);
            let listings: Vec<_> = output.stdout.matches("inside\n").collect();
            // Whoever is somewhere sees the container's root by going up, or nothing.
            assert!(output.code != 0 || !listings.is_empty(), "cwd {cwd}: {output:?}");
            assert!(!output.stdout.contains("vmlinuz") && !output.stdout.contains("boot\n"), "cwd {cwd}: {output:?}");
        }
    }
}

in_modes! {
    /// What the caller has open stays outside, whatever the number.
    fn sec_22_exec_takes_nothing_along(mode) {
        let container = Bundle::new(mode).start();
        let pid_file = container.bundle().dir().join("exec.pid");
        let id = container.id();
        let mut command = container.bundle().command(&[
            "exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), id, "sleep", "100",
        ]);
        leak(&mut command);
        container.bundle().call_command(command).ok();
        assert_eq!(Proc(fs::read_to_string(&pid_file).unwrap().parse().unwrap()).fds(), [0, 1, 2]);
    }
}

/// Compiles a program of this directory.
pub fn attacker(source: &str, to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/security").join(source);
    let status = Command::new("gcc").args(["-O2", "-static", "-o"]).arg(to).arg(source).status().unwrap();
    assert!(status.success());
}

in_modes! {
    /// CVE-2016-9962: root of the container, who may ptrace there, tries every process that enters until it has executed.
    [root_userns rootless_range]
    fn sec_23_nobody_inside_looks_into_a_process_that_enters(mode) {
        if only_ours("the attacker knows the runtime by its name") {
            return;
        }
        let powers = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]);
        let container = Bundle::new(mode)
            .rootfs(|root| attacker("exec_attacker.c", &root.join("bin/attacker")))
            .put("/process/capabilities", json!({"bounding": powers, "effective": powers, "permitted": powers}))
            .args(["attacker"])
            .start();
        let (begin, mut rounds) = (Instant::now(), 0);
        while rounds < ROUNDS && begin.elapsed() < TIME {
            exec(&container, &[], &["true"]).ok();
            rounds += 1;
        }
        let inside = |name: &str| container.proc().inside(name);
        fs::write(inside("stop"), "").unwrap();
        wait_until("the attacker has counted", || fs::read_to_string(inside("tries")).is_ok_and(|text| !text.is_empty()));
        let tries: u32 = fs::read_to_string(inside("tries")).unwrap().trim().parse().unwrap();
        let found = fs::read_to_string(inside("found")).unwrap_or_default();
        println!("{rounds} processes entered, {tries} looks at them");
        assert!(tries > rounds / 4, "{tries} looks in {rounds} rounds prove nothing");
        assert_eq!(found, "");
    }
}

in_modes! {
    /// CVE-2024-21626, second form: the program is looked up through a directory of the host.
    [root root_userns rootless_range]
    fn sec_24_exec_of_a_descriptor_finds_no_program_of_the_host(mode) {
        let container = Bundle::new(mode).start();
        let host = container.bundle().scratch().dir("host", mode.caller(), 0o755);
        fs::copy("/bin/busybox", host.join("escaped")).unwrap();
        let up = "/..".repeat(12);
        let entries: Vec<String> = (0..64).map(|number| format!("/proc/self/fd/{number}{up}{}", host.display())).collect();
        let path = format!("PATH={}", entries.join(":"));
        assert_ne!(exec(&container, &["--env", &path], &["escaped", "true"]).code, 0);
        for entry in ["/proc/self/cwd", "/proc/self/root"] {
            let program = format!("{entry}{up}{}/escaped", host.display());
            assert_ne!(exec(&container, &[], &[&program, "true"]).code, 0, "{program}");
        }
    }
}

/// CVE-2026-30892: a user that is not understood is an error and never root.
#[test]
fn sec_32_the_user_is_the_one_that_was_asked_for_or_none() {
    let container = Bundle::new(Mode::RootUserns).start();
    let ids = |text: &str| {
        let output = exec(&container, &["--user", text], &["sh", "-c", "echo $(id -u):$(id -g)"]);
        (output.code == 0).then(|| output.stdout.trim().to_owned())
    };
    for (typed, expected) in [
        ("1", Some("1:0")),
        ("1:2", Some("1:2")),
        ("0", Some("0:0")),
        ("65535:65535", Some("65535:65535")),
        ("65536", None),
        ("1:65536", None),
        ("-1", None),
        ("4294967295", None),
        ("4294967296", None),
        ("18446744073709551617", None),
        ("1:", None),
        (":1", None),
        ("", None),
        ("abc", None),
        ("1 ", None),
        (" 1", None),
        ("+1", None),
        ("0x1", None),
        ("1:2:3", None),
        ("root", None),
    ] {
        assert_eq!(ids(typed).as_deref(), expected, "{typed:?}");
    }
}
