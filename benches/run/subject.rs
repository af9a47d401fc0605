//! Those that take part, and the words of their commands.

use crate::{
    shape::{Network, Shape},
    work::Work,
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use urun::error::{Context, Result};

pub const FLOOR: &str = "floor";
pub const URUN: &str = "urun";
/// The one that ratios are to.
pub const CRUN: &str = "crun";
const OTHERS: [&str; 3] = [CRUN, "runc", "youki"];

/// One that takes part.
#[derive(Debug)]
pub struct Subject {
    pub name: &'static str,
    /// Path of the program; the floor's is where it is compiled to.
    pub program: String,
    pub version: String,
}

impl Subject {
    /// The size of the program's file in KiB.
    pub fn binary_size(&self) -> u64 {
        fs::metadata(&self.program).map_or(0, |metadata| metadata.len() / 1024)
    }

    pub fn json(&self) -> Value {
        json!({ "name": self.name, "version": self.version, "binary_kib": self.binary_size() })
    }
}

/// The floor, urun, and those of the others that can be had: the newest below target/bench/peers, else the installed ones.
pub fn subjects() -> Result<Vec<Subject>> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let peers = target.join("peers");
    let urun = std::env::var("BENCH_URUN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_urun").to_owned());
    let urun = installed(&urun, &target, URUN)?;
    let mut all = vec![
        Subject { name: FLOOR, program: String::new(), version: "benches/floor.c".to_owned() },
        Subject { name: URUN, version: version(&urun).unwrap_or_default(), program: urun },
    ];
    for name in OTHERS {
        let newest = peers.join(name).join("program");
        let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(|dir| Path::new(dir).join(name));
        let found = std::iter::once(newest).chain(places).find_map(|path| {
            // crun's own link is resolved: youki and runc look for themselves by name.
            let program = fs::canonicalize(path).ok()?.to_str()?.to_owned();
            version(&program).map(|version| Subject { name, program, version })
        });
        match found {
            Some(subject) => {
                all.push(Subject { program: installed(&subject.program, &target, name)?, ..subject });
            }
            None => eprintln!("bench: without {name}, which is not to be had (benches/peers says why)"),
        }
    }
    Ok(all)
}

/// Copies a program below `target` as install(1) does, so that all lie alike in the page cache: a file that the linker wrote through a
/// mapping lies there page by page, and mapping it takes longer than mapping the larger folios of one that was copied.
fn installed(program: &str, target: &Path, name: &str) -> Result<String> {
    let directory = target.join("installed");
    fs::create_dir_all(&directory).context("make a directory")?;
    let to = directory.join(name);
    fs::copy(program, &to).with_context(|| format!("install {program}"))?;
    Ok(to.to_string_lossy().into_owned())
}

/// What the program says of itself, in one line.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().filter(|line| {
        ["urun", "crun", "runc", "youki"].iter().any(|name| line.starts_with(name))
            || line.starts_with("commit")
            || line.starts_with("libseccomp")
    });
    let first = lines.next()?.to_owned();
    Some(lines.fold(first, |all, line| format!("{all}, {line}")))
}

/// What is done with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Run,
    /// create, start and delete.
    Lifecycle,
    Exec,
    State,
    Kill,
    List,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lifecycle => "create+start+delete",
            Self::Exec => "exec",
            Self::State => "state",
            Self::Kill => "kill",
            Self::List => "list",
        }
    }

    /// Whether it takes a container that is there.
    pub fn needs_container(self) -> bool {
        matches!(self, Self::Exec | Self::State | Self::Kill)
    }
}

/// The id of the container in a bundle; the worker's number takes the place of `@`.
pub fn id(bundle: &str) -> String {
    format!("bench-{}-{bundle}", std::process::id())
}

impl Work {
    /// A command of a runtime with its own directory of states.
    pub fn runtime(&self, subject: &Subject, words: &[&str]) -> Vec<String> {
        let state = self.path(&format!("state-{}", subject.name));
        let mut all = vec![subject.program.clone(), "--root".to_owned(), state];
        if self.systemd {
            all.push("--systemd-cgroup".to_owned());
        }
        all.extend(words.iter().map(|&word| word.to_owned()));
        all
    }

    /// The commands of a verb for benches/measure.c; none where the subject does no such thing.
    pub fn words(&self, subject: &Subject, verb: Verb, shape: &Shape) -> Option<Vec<String>> {
        if subject.name == FLOOR {
            return (verb == Verb::Run && shape.has_floor()).then(|| self.floor(shape));
        }
        let name = match verb {
            Verb::Run | Verb::Lifecycle => format!("{}-@", subject.name),
            _ => format!("{}-waiting", subject.name),
        };
        let (bundle, id) = (self.bundle(&name), id(&name));
        let one = |words: &[&str]| self.runtime(subject, words);
        Some(match verb {
            Verb::Run => one(&["run", "--bundle", &bundle, &id]),
            Verb::Lifecycle => [
                one(&["create", "--bundle", &bundle, &id]),
                one(&["start", &id]),
                one(&["delete", "--force", &id]),
            ]
            .join(&";".to_owned()),
            Verb::Exec => one(&["exec", &id, "/bin/true"]),
            Verb::State => one(&["state", &id]),
            // A signal that changes nothing.
            Verb::Kill => one(&["kill", &id, "CONT"]),
            Verb::List => one(&["list"]),
        })
    }

    fn floor(&self, shape: &Shape) -> Vec<String> {
        let mut words = vec![self.path(FLOOR), self.path("rootfs")];
        words.extend(shape.userns.then(|| "userns".to_owned()));
        match shape.network {
            Network::New => {}
            Network::Joined => words.push(format!("net={}", self.path("network"))),
            Network::Host => words.push("net=host".to_owned()),
        }
        words.extend(shape.seccomp.then(|| "filter".to_owned()));
        words.push("/bin/true".to_owned());
        words
    }
}
