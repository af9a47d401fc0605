//! Profiles as the engines write them, and as Podman resolves its own, read into the compiler's input.

use serde_json::Value;
use std::path::{Path, PathBuf};
use urun::spec::{
    seccomp::{Action, Arch, Arg, Operator, Rule, Seccomp},
    syscall::Syscall,
};

/// Reads `linux.seccomp` of a config.json.
pub fn read(value: &Value) -> Seccomp {
    Seccomp {
        default_action: action(&value["defaultAction"], &value["defaultErrnoRet"]),
        architectures: list(&value["architectures"]).map(|v| arch(v.as_str().unwrap())).collect(),
        flags: 0,
        listener_path: value["listenerPath"].as_str().map(PathBuf::from),
        listener_metadata: value["listenerMetadata"].as_str().map(str::to_owned),
        syscalls: list(&value["syscalls"]).map(rule).collect(),
    }
}

/// The distinct profiles that engines have sent, by name.
pub fn golden() -> Vec<(String, Seccomp)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/seccomp");
    let mut out: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&value))
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Podman's default profile for a container with these capabilities: entries are kept or dropped by `includes` and
/// `excludes`, and the architectures come from `archMap`.
pub fn podman(caps: &[&str]) -> Seccomp {
    const PATH: &str = "/usr/share/containers/seccomp.json";
    let text = std::fs::read(PATH).unwrap_or_else(|e| panic!("{PATH}: {e}; install containers-common"));
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    let map = list(&value["archMap"]).find(|m| m["architecture"] == "SCMP_ARCH_X86_64").unwrap();
    let archs: Vec<_> =
        std::iter::once(&map["architecture"]).chain(list(&map["subArchitectures"])).cloned().collect();
    let named = |filter: &Value, key: &str, have: &[&str]| {
        list(&filter[key]).map(|v| have.contains(&v.as_str().unwrap())).collect::<Vec<_>>()
    };
    let kept = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches = named(includes, "arches", &["amd64"]);
        (arches.is_empty() || arches.contains(&true))
            && !named(includes, "caps", caps).contains(&false)
            && !named(excludes, "arches", &["amd64"]).contains(&true)
            && !named(excludes, "caps", caps).contains(&true)
    };
    let rules: Vec<_> = list(&value["syscalls"]).filter(kept).cloned().collect();
    value["architectures"] = archs.into();
    value["syscalls"] = rules.into();
    read(&value)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rule(value: &Value) -> Rule {
    Rule {
        names: list(&value["names"]).filter_map(|name| Syscall::find(name.as_str().unwrap())).collect(),
        action: action(&value["action"], &value["errnoRet"]),
        args: list(&value["args"]).map(arg).collect(),
    }
}

fn arg(value: &Value) -> Arg {
    let op = match value["op"].as_str().unwrap() {
        "SCMP_CMP_NE" => Operator::Ne,
        "SCMP_CMP_LT" => Operator::Lt,
        "SCMP_CMP_LE" => Operator::Le,
        "SCMP_CMP_EQ" => Operator::Eq,
        "SCMP_CMP_GE" => Operator::Ge,
        "SCMP_CMP_GT" => Operator::Gt,
        "SCMP_CMP_MASKED_EQ" => Operator::MaskedEq,
        other => panic!("{other}"),
    };
    let index = u8::try_from(value["index"].as_u64().unwrap()).unwrap();
    Arg {
        index,
        value: value["value"].as_u64().unwrap(),
        value_two: value["valueTwo"].as_u64().unwrap_or(0),
        op,
    }
}

fn action(value: &Value, errno: &Value) -> Action {
    let data = errno.as_u64().map_or(1, |n| u16::try_from(n).unwrap());
    match value.as_str().unwrap() {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(data),
        "SCMP_ACT_TRACE" => Action::Trace(data),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        other => panic!("{other}"),
    }
}

fn arch(name: &str) -> Arch {
    match name {
        "SCMP_ARCH_X86_64" => Arch::X86_64,
        "SCMP_ARCH_X86" => Arch::X86,
        "SCMP_ARCH_X32" => Arch::X32,
        other => panic!("{other}"),
    }
}
