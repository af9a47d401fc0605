//! The hook `require-userns` by itself and under real runtimes.
#![allow(clippy::unwrap_used)] // a test may fail at any step

use serde_json::{Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const HOOK: &str = env!("CARGO_BIN_EXE_require-userns");
const ANNOTATION: &str = "io.urun.host-users";

fn hook(args: &[&str], state: &Value) -> Output {
    let mut hook = Command::new(HOOK)
        .args(args)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .spawn()
        .unwrap();
    hook.stdin.take().unwrap().write_all(state.to_string().as_bytes()).unwrap();
    hook.wait_with_output().unwrap()
}

#[test]
fn a_process_of_the_host_is_refused_in_one_sentence() {
    let state = json!({"id": "c1", "pid": std::process::id(), "annotations": {ANNOTATION: "true"}});
    let refused = hook(&[], &state);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.starts_with("require-userns: container c1 shares the host's user namespace"), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(hook(&["--allow-annotation", ANNOTATION], &state).status.code(), Some(0));
}

#[test]
fn a_process_that_is_not_there_is_refused() {
    let state = json!({"id": "c1", "pid": i32::MAX});
    assert_eq!(hook(&[], &state).status.code(), Some(1));
}

/// A bundle that goes away with the test.
struct Bundle(PathBuf);

impl Bundle {
    fn new(name: &str, userns: bool, annotation: Option<&str>) -> Self {
        let dir = std::env::temp_dir().join(format!("require-userns-{}-{name}", std::process::id()));
        for name in ["proc", "dev", "sys"] {
            std::fs::create_dir_all(dir.join("rootfs").join(name)).unwrap();
        }
        // The one program at hand that is static; it ends with 1 for want of a state.
        std::fs::copy(HOOK, dir.join("rootfs/program")).unwrap();
        let mut namespaces: Vec<Value> =
            ["mount", "pid", "ipc", "uts", "cgroup"].iter().map(|kind| json!({"type": kind})).collect();
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let mut linux = json!({"cgroupsPath": format!("/{name}")});
        if userns {
            namespaces.push(json!({"type": "user"}));
            linux["uidMappings"] = map.clone();
            linux["gidMappings"] = map;
        }
        linux["namespaces"] = namespaces.into();
        let annotations = annotation.map_or(json!({}), |value| json!({ANNOTATION: value}));
        let config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "cwd": "/", "args": ["/program"], "env": ["A=b"], "user": {"uid": 0, "gid": 0},
                "capabilities": {"bounding": [], "effective": [], "permitted": []}
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}
            ],
            "annotations": annotations,
            "hooks": {"createRuntime": [
                {"path": HOOK, "args": ["require-userns", "--allow-annotation", ANNOTATION]}
            ]},
            "linux": linux
        });
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        Self(dir)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Creates and deletes a container in a mount namespace with cgroup v2 in its place; whether create succeeded, and
/// what it said. Its standard input is any file but the null device, which crun 1.8 would give to the container's root, on
/// the host as well.
fn create(runtime: &str, id: &str, bundle: &Path) -> (bool, String) {
    let script = r#"
        mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup || exit 99
        "$1" --root "$3/state" create --bundle "$3" "$2" < "$3/config.json" > "$3/out" 2>&1; status=$?
        "$1" --root "$3/state" delete --force "$2" > /dev/null 2>&1
        rmdir "/sys/fs/cgroup/$2" 2> /dev/null
        exit $status"#;
    let bundle_text = bundle.to_str().unwrap();
    let status = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", runtime, id, bundle_text])
        .status()
        .unwrap();
    let text = std::fs::read_to_string(bundle.join("out")).unwrap_or_default();
    assert_ne!(status.code(), Some(99), "cannot mount cgroup2");
    (status.success(), text)
}

fn installed(runtime: &str) -> bool {
    Command::new(runtime).arg("--version").stdout(Stdio::null()).status().is_ok()
}

#[test]
fn real_runtimes_obey_the_hook() {
    let cases = [
        ("host", false, None, false),
        ("wrong", false, Some("false"), false),
        ("annotated", false, Some("true"), true),
        ("userns", true, None, true),
    ];
    for runtime in ["crun", "runc"].into_iter().filter(|runtime| installed(runtime)) {
        for (case, userns, annotation, accepted) in cases {
            let id = format!("require-userns-{}-{runtime}-{case}", std::process::id());
            let bundle = Bundle::new(&id, userns, annotation);
            let (created, text) = create(runtime, &id, &bundle.0);
            assert_eq!(created, accepted, "{runtime}, {case}: {text}");
            assert!(accepted || text.contains("hook"), "{runtime}, {case}: {text}");
        }
    }
}
