//! What the user of an engine sees for the ten most common mistakes: the engine's own words and exit code, kept in `tests/golden/mistakes` for each version
//! of an engine. `UPDATE_GOLDEN=1` writes them anew. Where a version has no file, the exit codes alone are compared.

use crate::common::{Output, set_mode};
use crate::site::Site;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// One mistake: its name, flags before the image, the command after it, and the exit codes that the engine's documentation allows.
pub struct Mistake {
    name: &'static str,
    flags: Vec<String>,
    command: &'static [&'static str],
    codes: &'static [i32],
}

/// 125: the engine failed; 126: the command cannot be invoked; 127: it cannot be found.
const ENGINE: &[i32] = &[125];
const NOT_INVOKED: &[i32] = &[126];
const NOT_FOUND: &[i32] = &[127];
/// The engine takes the class from words in the runtime's message.
const BY_WORDS: &[i32] = &[125, 126, 127];

/// An engine that can limit nothing says so and goes on.
const WHERE_LIMITED: &[i32] = &[0, 125, 126];

impl Mistake {
    fn new(
        name: &'static str,
        flags: &[&str],
        command: &'static [&'static str],
        codes: &'static [i32],
    ) -> Self {
        Self { name, flags: flags.iter().map(ToString::to_string).collect(), command, codes }
    }
}

/// A program for another machine.
fn alien(site: &Site) -> String {
    let path = site.scratch().join("alien");
    fs::copy("/bin/busybox", &path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // e_machine of elf(5): EM_S390.
    bytes[18] = 22;
    fs::write(&path, bytes).unwrap();
    set_mode(&path, 0o755);
    path.display().to_string()
}

/// A seccomp profile that is none.
fn bad_profile(site: &Site) -> String {
    let text = r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#;
    site.scratch().file("bad.json", text, (0, 0), 0o644).display().to_string()
}

/// The mistakes in the flags that Podman and Docker share.
pub fn common(site: &Site) -> Vec<Mistake> {
    let alien = format!("{}:/alien:ro", alien(site));
    let profile = format!("seccomp={}", bad_profile(site));
    let no_source = "type=bind,src=/nonesuch,dst=/mnt";
    vec![
        Mistake::new("missing binary", &[], &["nonesuch"], NOT_FOUND),
        Mistake::new("not executable", &[], &["/etc/passwd"], NOT_INVOKED),
        Mistake::new("wrong architecture", &["--volume", &alien], &["/alien"], BY_WORDS),
        Mistake::new("missing mount source", &["--mount", no_source], &["true"], ENGINE),
        Mistake::new("bad seccomp profile", &["--security-opt", &profile], &["true"], BY_WORDS),
        Mistake::new("memory limit too low", &["--memory", "1k"], &["true"], WHERE_LIMITED),
        Mistake::new("unknown capability", &["--cap-add", "NONSENSE"], &["true"], ENGINE),
    ]
}

/// The mistakes with user namespaces, in Podman's flags.
pub fn podman() -> Vec<Mistake> {
    let not_mapped = ["--uidmap", "0:1:100", "--gidmap", "0:1:100", "--user", "5000"];
    let nobody = ["--subuidname", "nonesuch", "--subgidname", "nonesuch"];
    let no_maps = ["--userns", "auto", "--volume", "/sys/kernel:/mnt:idmap"];
    vec![
        Mistake::new("user not mapped", &not_mapped, &["true"], BY_WORDS),
        Mistake::new("no subordinate ids", &nobody, &["true"], ENGINE),
        Mistake::new("file system without id maps", &no_maps, &["true"], BY_WORDS),
    ]
}

/// The mistakes with Docker's user namespaces, of which a daemon has one map for all containers.
pub fn docker_remapped(site: &Site) -> Vec<Mistake> {
    let dir = site.scratch().dir("closed", (0, 0), 0o700);
    let volume = format!("{}:/mnt", dir.display());
    let closed = ["--volume", &volume, "--workdir", "/mnt"];
    vec![
        Mistake::new("user not mapped", &["--user", "70000"], &["true"], BY_WORDS),
        Mistake::new("volume of the host's root", &closed, &["true"], BY_WORDS),
        Mistake::new("privileged without the host's user namespace", &["--privileged"], &["true"], ENGINE),
    ]
}

/// The mistakes in the flags of `ctr`, which fails with 1 whatever it is, knows
/// nothing of users (before containerd 2) and subordinate ids, and leaves capabilities to the runtime.
pub fn ctr(site: &Site) -> Vec<Mistake> {
    const FAILED: &[i32] = &[1];
    let alien = format!("type=bind,src={},dst=/alien,options=bind:ro", alien(site));
    let profile = bad_profile(site);
    let maps = ["--uidmap", "0:300000:100", "--gidmap", "0:300000:100"];
    let no_source = "type=bind,src=/nonesuch,dst=/mnt,options=bind";
    let no_maps = ["--mount", "type=bind,src=/sys/kernel,dst=/mnt,options=bind:idmap"];
    vec![
        Mistake::new("missing binary", &[], &["nonesuch"], FAILED),
        Mistake::new("not executable", &[], &["/etc/passwd"], FAILED),
        Mistake::new("wrong architecture", &["--mount", &alien], &["/alien"], FAILED),
        Mistake::new("missing mount source", &["--mount", no_source], &["true"], FAILED),
        Mistake::new("bad seccomp profile", &["--seccomp", "--seccomp-profile", &profile], &["true"], FAILED),
        Mistake::new("memory limit too low", &["--memory-limit", "1024"], &["true"], FAILED),
        Mistake::new("unknown capability", &["--cap-add", "CAP_NONSENSE"], &["true"], &[0, 1]),
        Mistake::new("file system without id maps", &[&maps[..], &no_maps].concat(), &["true"], FAILED),
    ]
}

/// Makes the mistakes, and compares with what is kept for `engine`.
pub fn make(site: &Site, engine: &str, mistakes: &[Mistake], run: impl Fn(&[&str], &[&str]) -> Output) {
    let mut text = String::new();
    for mistake in mistakes {
        let flags: Vec<&str> = mistake.flags.iter().map(String::as_str).collect();
        let output = run(&flags, mistake.command);
        assert!(mistake.codes.contains(&output.code), "{}: {output:?}", mistake.name);
        let words = normal(site, &format!("{}{}", output.stdout, output.stderr));
        writeln!(text, "{}: exit code {}\n{words}", mistake.name, output.code).unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/mistakes/{engine}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    } else if let Ok(kept) = fs::read_to_string(path) {
        assert_eq!(kept, text, "UPDATE_GOLDEN=1 accepts the new words");
    }
}

/// The text without what every run has anew, or by chance: ids, times, pids, directories, the kernel's release.
fn normal(site: &Site, text: &str) -> String {
    let text = text.replace(&site.scratch().path().display().to_string(), "DIR");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = text.replace(release.trim_end(), "RELEASE");
    let mut out = String::new();
    // Docker's client says it as well when it is told of the end too early.
    for line in text.lines().filter(|line| !line.contains("error waiting for container")) {
        let words = line.split_inclusive(|c: char| !c.is_alphanumeric() && c != '-' && c != ':');
        let line: String = words.map(known_word).collect();
        writeln!(out, "    {}", line.trim_end().replace("x86_N", "x86_64")).unwrap();
    }
    out
}

fn known_word(word: &str) -> String {
    let core = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    let rest = &word[core.len()..];
    let hexadecimal = core.len() >= 26 && core.chars().all(|c| c.is_ascii_hexdigit());
    let time = core.len() >= 19 && core.starts_with("20") && core.contains('T');
    let number = core.len() >= 2 && core.chars().all(|c| c.is_ascii_digit());
    match (hexadecimal, time, number) {
        (true, ..) => format!("ID{rest}"),
        (_, true, _) => format!("TIME{rest}"),
        (.., true) => format!("N{rest}"),
        _ => word.to_owned(),
    }
}
