//! Names, numbers and sizes that are meant to break what reads them (SEC-16, SEC-40 to SEC-43).

use crate::{
    canary::Canary,
    common::{
        Bundle, ConsoleSocket, Mode, Subject, Traces, cgroup_dir, deadline, in_modes, set_mode, subject,
    },
};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// A control group that climbs out of the hierarchy or into another container's.
#[test]
fn sec_16_control_group_names_cannot_climb() {
    let long = "x".repeat(4096);
    let other = Bundle::new(Mode::RootUserns).start();
    let beside = format!("/x/../{}/evil", other.id());
    for path in ["..", "/../../x", "a/../../../b", "/a\u{0}b", "/a\nb", &format!("/{long}"), &beside] {
        let bundle = Bundle::new(Mode::RootUserns).put("/linux/cgroupsPath", json!(path)).args(["true"]);
        let root = cgroup_dir("", "").or_else(|| cgroup_dir("memory", "")).unwrap();
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(root.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        bundle.run().refused("cgroup");
        assert_eq!(names(), before, "{path:?}");
        Traces::none_of(&bundle);
    }
    for key in ["../../memory.max", "a/b", "..", "cgroup.procs\u{0}", ""] {
        let bundle = Bundle::new(Mode::RootUserns)
            .put("/linux/resources", json!({"unified": {key: "1"}}))
            .args(["true"]);
        let output = bundle.run();
        assert_ne!(output.code, 0, "{key:?}");
        Traces::none_of(&bundle);
    }
}

/// Nor do those that a caller of `exec` chooses, or an annotation.
#[test]
fn sec_16_groups_below_a_containers_own_cannot_climb() {
    let container = Bundle::new(Mode::RootUserns).start();
    let other = Bundle::new(Mode::RootUserns).start();
    let beside = format!("../{}", other.id());
    for path in ["..", "/..", ".", "a/../..", &beside, &format!("memory:{beside}"), "a\nb"] {
        let output = container.bundle().call(&["exec", "--cgroup", path, container.id(), "true"]);
        output.refused("cgroup");
    }
    for name in ["..", ".", &beside, "a/b", "/", "/evil", "a\nb"] {
        let bundle = Bundle::new(Mode::RootUserns).in_pure_v2().args(["true"]);
        let bundle = bundle.put("/annotations", json!({"run.oci.delegate-cgroup": name}));
        bundle.run().refused_naming(&["run.oci.delegate-cgroup"]);
        Traces::none_of(&bundle);
    }
}

in_modes! {
    /// CVE-2021-43784: lengths that wrap, and texts with a NUL inside.
    fn sec_40_large_and_broken_texts_arrive_whole_or_are_refused(mode) {
        let deadline = deadline(25);
        for size in [70_000, 1 << 20] {
            let text = "x".repeat(size);
            let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "test $(wc -c) -gt 70000"]}]);
            let bundle = Bundle::new(mode)
                .put("/annotations", json!({"large": text}))
                .put("/hooks", json!({"createRuntime": hook, "createContainer": hook, "poststart": hook}))
                .args(["true"]);
            bundle.run().ok();
        }
        let entries: Vec<String> = (0..300).map(|n| format!("V{n}={}", "y".repeat(1000))).collect();
        let count = Bundle::new(mode).args(["sh", "-c", "env | grep -c ^V"]).with(|config| {
            config["process"]["env"].as_array_mut().unwrap().extend(entries.iter().map(|entry| json!(entry)));
        });
        assert_eq!(count.run().ok().text(), "300");
        for (pointer, value, place) in [
            ("/process/args", json!(["true", "a\u{0}b"]), "process.args[1]"),
            ("/process/env", json!(["A=a\u{0}b"]), "process.env[0]"),
            ("/process/cwd", json!("/\u{0}x"), "process.cwd"),
            ("/hostname", json!("a\u{0}b"), "hostname"),
            ("/mounts/0/destination", json!("/proc\u{0}/x"), "mounts[0].destination"),
            ("/mounts/0/source", json!("pr\u{0}oc"), "mounts[0].source"),
            ("/mounts/0/options", json!(["ro\u{0}rw"]), "mounts[0].options[0]"),
            ("/root/path", json!("rootfs\u{0}"), "root.path"),
            ("/linux/maskedPaths", json!(["/a\u{0}b"]), "linux.maskedPaths[0]"),
        ] {
            let bundle = Bundle::new(mode).args(["true"]).put(pointer, value);
            bundle.run().refused_naming(&[place]);
            Traces::none_of(&bundle);
        }
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn sec_41_ids_stay_names() {
    let bundle = Bundle::new(Mode::RootUserns).args(["true"]);
    bundle.write();
    let canary = Canary::new(&bundle);
    let long = "i".repeat(4096);
    for id in ["..", ".", "../canary", "a/b", "/", "", "a\nb", "a b", "é", &long] {
        for verb in [&["create"][..], &["run"], &["state"], &["delete", "--force"], &["start"], &["kill"]] {
            // Without an id `create` takes the directory's name, which is one.
            let mut arguments = verb.to_vec();
            arguments.extend(["--", id]);
            assert_ne!(bundle.call(&arguments).code, 0, "{verb:?} {id:?}");
        }
    }
    canary.is_untouched();
    let kept: Vec<_> = std::fs::read_dir(bundle.state_root()).into_iter().flatten().collect();
    assert!(kept.is_empty(), "{kept:?}");
}

in_modes! {
    /// A socket's address has 108 bytes: a longer path reaches its socket or is refused, and never the one that its beginning names.
    fn sec_42_a_long_path_of_a_socket_is_not_cut_off(mode) {
        let bundle = Bundle::new(mode).put("/process/terminal", json!(true));
        let base = bundle.scratch().path().to_str().unwrap().len() + 1;
        let decoys: Vec<_> = [106, 107]
            .map(|length| ConsoleSocket::listen(&bundle.scratch().join("d".repeat(length - base)), mode.caller()))
            .into();
        let deep = bundle.scratch().dir(&"d".repeat(180 - base), mode.caller(), 0o755);
        // Bound in its own place by a shorter name, then moved: the socket stays the same.
        let short = bundle.scratch().join("s");
        let socket = ConsoleSocket::listen(&short, mode.caller());
        std::fs::rename(&short, deep.join("socket")).unwrap();
        let output = bundle.try_create(&["--console-socket", deep.join("socket").to_str().unwrap()]);
        if output.code == 0 || subject().0 == Subject::Urun {
            output.ok();
            socket.accept();
        } else {
            assert!(!output.stderr.is_empty());
        }
        for decoy in decoys {
            assert!(!decoy.was_called(), "{} was called for a longer path", decoy.path());
        }
    }
}

#[test]
fn sec_43_id_maps_that_overlap_or_overflow_are_refused() {
    let line = |container: u64, host: u64, size: u64| json!({"containerID": container, "hostID": host, "size": size});
    for maps in [
        json!([line(0, 131_072, 10), line(5, 200_000, 10)]),
        json!([line(0, 131_072, 10), line(20, 131_075, 10)]),
        json!([line(0, 131_072, 0)]),
        json!([line(0, 4_294_967_290, 10)]),
        json!([line(4_294_967_290, 131_072, 10)]),
        json!([line(0, 131_072, 4_294_967_296)]),
        json!((0..341).map(|n| line(n, 131_072 + n, 1)).collect::<Vec<_>>()),
    ] {
        let bundle = Bundle::new(Mode::RootUserns).put("/linux/uidMappings", maps.clone()).args(["true"]);
        bundle.run().refused_naming(&["linux.uidMappings"]);
        Traces::none_of(&bundle);
    }
    let many: Vec<_> = (0..280).map(|n| line(n, 131_072 + n, 1)).collect();
    let bundle = Bundle::new(Mode::RootUserns).put("/linux/uidMappings", json!(many)).args([
        "wc",
        "-l",
        "/proc/self/uid_map",
    ]);
    assert!(bundle.run().ok().text().starts_with("280"));
}

/// The state root decides which processes are killed.
#[test]
fn sec_44_a_state_root_that_others_may_write_to_is_refused() {
    let bundle = Bundle::new(Mode::RootUserns).args(["true"]);
    bundle.write();
    std::fs::create_dir(bundle.state_root()).unwrap();
    set_mode(&bundle.state_root(), 0o777);
    bundle.call(&["run", bundle.id()]).refused("others may write");
    std::fs::remove_dir(bundle.state_root()).unwrap();
    bundle.call(&["run", bundle.id()]).ok();
    assert_eq!(std::fs::metadata(bundle.state_root()).unwrap().mode() & 0o7777, 0o700);
}
