//! libseccomp, asked through a small C program.

use crate::{
    bpf::{ALL, Insn, decode, facts},
    justified::{operator, ret},
};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};
use urun::spec::{
    seccomp::{Arch, Seccomp},
    syscall::Syscall,
};

/// What libseccomp said.
pub struct Answer {
    /// Whether it refused an entry because it contradicts another one.
    pub contradiction: bool,
    pub program: Vec<Insn>,
}

fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("seccomp-oracle");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/oracle.c");
        let cc =
            Command::new("cc").args(["-O1", "-Wall", "-o"]).arg(&binary).args([source, "-lseccomp"]).output();
        let cc = cc.unwrap_or_else(|e| panic!("cc: {e}; install a C compiler and libseccomp-dev"));
        let errors = String::from_utf8_lossy(&cc.stderr);
        assert!(cc.status.success(), "{source} does not compile; install libseccomp-dev:\n{errors}");
        binary
    })
}

/// libseccomp did not come back.
pub const STUCK: &str = "libseccomp does not terminate";

fn ask(mode: &str, question: &str) -> Result<Vec<u8>, String> {
    let mut child = Command::new(binary())
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let question = question.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(question.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    if output.status.signal() == Some(libc::SIGALRM) {
        return Err(STUCK.to_owned());
    }
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The number of each name on an architecture: libseccomp's, `None` for a name it does not know. No answer if it does
/// not know the architecture.
pub fn numbers(arch: Arch, names: &[&str]) -> Option<Vec<Option<i32>>> {
    let lines: Vec<_> = names.iter().map(|name| format!("{:#x} {name}\n", facts(arch).0)).collect();
    let question = lines.concat();
    let answer = String::from_utf8(ask("table", &question).unwrap()).unwrap();
    if answer.starts_with("noarch") {
        return None;
    }
    Some(answer.lines().map(|line| line.parse().ok()).collect())
}

/// Whether a call has our number on every architecture that libseccomp knows.
pub fn agrees(name: &str) -> bool {
    static DISAGREE: OnceLock<BTreeSet<&str>> = OnceLock::new();
    let disagree = DISAGREE.get_or_init(|| {
        let names: Vec<_> = Syscall::all().map(Syscall::name).collect();
        let mut out = BTreeSet::new();
        for arch in ALL {
            for (name, theirs) in names.iter().zip(numbers(arch, &names).into_iter().flatten()) {
                let ours = Syscall::find(name).unwrap().number(arch);
                let multiplexed = theirs.is_some_and(|number| (-300..0).contains(&number));
                if !multiplexed && theirs.map(|number| u32::try_from(number).ok()) != Some(ours) {
                    out.insert(*name);
                }
            }
        }
        out
    });
    !disagree.contains(name)
}

/// Compiles a profile as runc and crun do, for exactly these architectures.
pub fn compile(profile: &Seccomp, archs: &[Arch]) -> Result<Answer, String> {
    let mut question = format!("default {:#x}\n", ret(profile.default_action));
    for arch in archs {
        writeln!(question, "arch {:#x}", facts(*arch).0).unwrap();
    }
    let mut names = Vec::new();
    for rule in profile.syscalls.iter().filter(|rule| rule.action != profile.default_action) {
        let indices: std::collections::BTreeSet<_> = rule.args.iter().map(|arg| arg.index).collect();
        let entries: Vec<_> = if indices.len() < rule.args.len() {
            rule.args.chunks(1).collect()
        } else {
            vec![&rule.args[..]]
        };
        for name in rule.names.iter().map(|call| call.name()) {
            for args in &entries {
                write!(question, "rule {:#x} {name}", ret(rule.action)).unwrap();
                for arg in *args {
                    let op = operator(arg.op);
                    write!(question, " {} {op} {:#x} {:#x}", arg.index, arg.value, arg.value_two).unwrap();
                }
                question.push('\n');
                names.push(name);
            }
        }
    }
    let answer = ask("compile", &question)?;
    let end = answer.windows(4).position(|w| w == b"bpf\n").unwrap();
    let codes = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut out = Answer { contradiction: false, program: decode(&answer[end + 4..], facts(archs[0]).2) };
    for (name, code) in names.into_iter().zip(codes.lines()) {
        match code {
            "0" | "unknown" => {}
            "-17" => out.contradiction = true,
            other => panic!("libseccomp refuses {name}: {other}"),
        }
    }
    Ok(out)
}
