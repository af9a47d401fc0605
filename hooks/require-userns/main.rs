//! A createRuntime hook that refuses containers which share the host's user namespace. See README.md beside this file.

use serde_json::Value;
use std::{io::Read, os::fd::AsFd, process::ExitCode};
use urun::{
    error::{Context, Error, Result},
    sys::proc::Proc,
};

const USAGE: &str = "usage: require-userns [--allow-annotation NAME[=VALUE]]... < state.json";

/// The name of the initial user namespace, an inode number fixed by the kernel (USER_NS_INIT_INO).
const INITIAL: &str = "user:[4026531837]";

/// The largest state document that is read, in bytes.
const STATE_MAX: u64 = 16 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("require-userns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let allowed = Annotation::parse_all(&args)?;
    let mut bytes = Vec::new();
    std::io::stdin().take(STATE_MAX).read_to_end(&mut bytes).context("read the container's state")?;
    let state = State::parse(&bytes)?;
    let namespaces = Namespaces::of(state.pid)?;
    judge(&state, &allowed, &namespaces)
}

/// An annotation that lets a container pass.
#[derive(Debug, PartialEq, Eq)]
struct Annotation {
    name: String,
    value: String,
}

impl Annotation {
    /// Reads the hook's arguments; a name without a value stands for `NAME=true`.
    fn parse_all(args: &[String]) -> Result<Vec<Self>> {
        let mut args = args.iter();
        let mut found = Vec::new();
        while let Some(arg) = args.next() {
            let text = match arg.strip_prefix("--allow-annotation") {
                Some("") => args.next().map(String::as_str),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            };
            let Some(text) = text else {
                urun::bail!("bad argument {arg:?} ({USAGE})");
            };
            let (name, value) = text.split_once('=').unwrap_or((text, "true"));
            if name.is_empty() {
                urun::bail!("--allow-annotation needs a name ({USAGE})");
            }
            found.push(Self { name: name.to_owned(), value: value.to_owned() });
        }
        Ok(found)
    }
}

/// What the hook reads of the state document (runtime-spec runtime.md).
#[derive(Debug)]
struct State {
    id: String,
    pid: i32,
    annotations: Value,
}

impl State {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut state: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(format_args!("standard input is no state document: {error}")))?;
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| Error::new("the state document names no process (pid)"))?;
        let id = state["id"].as_str().unwrap_or("?").to_owned();
        Ok(Self { id, pid, annotations: state["annotations"].take() })
    }

    fn carries(&self, annotation: &Annotation) -> bool {
        self.annotations[&annotation.name].as_str() == Some(&annotation.value)
    }
}

/// User namespaces by the names that `/proc/PID/ns/user` gives them.
#[derive(Debug)]
struct Namespaces {
    container: String,
    /// That of pid 1. Unreadable for a runtime without privileges, which cannot put a container there either.
    host: Option<String>,
}

impl Namespaces {
    fn of(pid: i32) -> Result<Self> {
        let proc = Proc::open()?;
        let container = user_namespace(&proc, pid)?;
        let host = match user_namespace(&proc, 1) {
            Ok(name) => Some(name),
            Err(error) if error.errno() == Some(libc::EACCES) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { container, host })
    }

    /// The host's namespace is that of the node's pid 1, which need not be the initial one where the node itself is a
    /// container. The hook's own does not count: a rootless runtime, and its hooks, live in one of the user's, which
    /// its containers may share without being root of anything on the host.
    fn shared(&self) -> bool {
        self.container == INITIAL || self.host.as_ref() == Some(&self.container)
    }
}

fn user_namespace(proc: &Proc, pid: i32) -> Result<String> {
    let step = || format!("read the user namespace of process {pid}");
    let link =
        proc.open_file(&format!("{pid}/ns/user"), libc::O_PATH | libc::O_NOFOLLOW).with_context(step)?;
    let name = nix::fcntl::readlinkat(link.as_fd(), "").with_context(step)?;
    Ok(name.to_string_lossy().into_owned())
}

fn judge(state: &State, allowed: &[Annotation], namespaces: &Namespaces) -> Result<()> {
    if !namespaces.shared() || allowed.iter().any(|annotation| state.carries(annotation)) {
        return Ok(());
    }
    let ways: String = allowed.iter().fold(String::new(), |ways, Annotation { name, value }| {
        ways + &format!(" or the annotation {name}={value}")
    });
    Err(Error::new(format_args!(
        "container {} shares the host's user namespace, which this node does not allow: it needs a user namespace of \
         its own (Kubernetes: hostUsers: false, Podman: --userns=auto){ways}",
        state.id
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(args: &[&str]) -> Result<Vec<Annotation>> {
        Annotation::parse_all(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn state(annotations: &str) -> State {
        State::parse(format!(r#"{{"id":"c","pid":7,"annotations":{annotations}}}"#).as_bytes()).unwrap()
    }

    fn namespaces(container: &str, host: Option<&str>) -> Namespaces {
        Namespaces { container: container.into(), host: host.map(Into::into) }
    }

    #[test]
    fn arguments_name_annotations_and_nothing_else() {
        let found = allow(&["--allow-annotation", "a", "--allow-annotation=b=c=d"]).unwrap();
        let pairs: Vec<_> = found.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
        assert_eq!(pairs, [("a", "true"), ("b", "c=d")]);
        let bad: [&[&str]; 5] = [
            &["a"],
            &["--allow-annotation"],
            &["--allow-annotation", "=x"],
            &["--allow-annotations", "a"],
            &["-h"],
        ];
        for args in bad {
            assert!(allow(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn only_the_hosts_namespace_is_refused() {
        let cases = [
            (INITIAL, Some(INITIAL), true),
            (INITIAL, None, true),
            ("user:[1]", Some(INITIAL), false),
            ("user:[1]", None, false),
            ("user:[1]", Some("user:[1]"), true),
            (INITIAL, Some("user:[1]"), true),
        ];
        for (container, host, refused) in cases {
            let namespaces = namespaces(container, host);
            assert_eq!(judge(&state("{}"), &[], &namespaces).is_err(), refused, "{namespaces:?}");
        }
    }

    #[test]
    fn an_annotation_counts_with_its_exact_value_only() {
        let allowed = allow(&["--allow-annotation", "a"]).unwrap();
        let host = namespaces(INITIAL, None);
        let cases = [
            (r#"{"a":"true"}"#, true),
            (r#"{"a":"false"}"#, false),
            (r#"{"a":true}"#, false),
            (r#"{"A":"true"}"#, false),
            ("null", false),
            ("[]", false),
        ];
        for (annotations, accepted) in cases {
            assert_eq!(judge(&state(annotations), &allowed, &host).is_ok(), accepted, "{annotations}");
        }
    }

    #[test]
    fn a_state_without_a_process_is_refused() {
        for text in
            ["", "{}", r#"{"pid":0}"#, r#"{"pid":-1}"#, r#"{"pid":"1"}"#, r#"{"pid":4294967297}"#, "[]"]
        {
            assert!(State::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
