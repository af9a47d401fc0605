//! The same attacks one level down: urun runs inside an unprivileged container (SEC-96).

use crate::common::*;
use crate::{exec::attacker, root_inside::Attempts};
use serde_json::{Value, json};
use std::fs;

/// What tells the inner container's program from the outer's.
const SLEEP: &str = "601";

/// A container in which urun runs one more, whose root tries everything.
fn nest(mode: Mode) -> Bundle {
    let urun = "urun --root /run/urun";
    let script = format!(
        "mkdir /nest/bad/rootfs/etc && ln -s /etc /nest/bad/rootfs/proc && ! {urun} run -b /nest/bad bad 2>/refused && \
         {urun} run -d -b /nest inner && {urun} state inner >/state && echo stands; exec sleep 600"
    );
    let bundle = Bundle::new(mode).put("/annotations/io.urun.proc-mount", json!("unmasked")).sh(&script);
    let mut config = bundle.config.clone();
    let linux = config["linux"].as_object_mut().unwrap();
    for name in ["cgroupsPath", "resources"] {
        linux.remove(name);
    }
    let maps = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    linux.insert("uidMappings".into(), maps.clone());
    linux.insert("gidMappings".into(), maps);
    linux["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
    config["annotations"] = json!({});
    // The tty group is not mapped.
    config["mounts"][2]["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    config["process"]["capabilities"] = caps(&CAPABILITIES);
    config["process"]["args"] = json!(["sh", "-c", format!("root_attacker; exec sleep {SLEEP}")]);
    bundle.rootfs(|root| {
        copy_program(&subject().1, &root.join("bin/urun"));
        Bundle::rootfs_at(&root.join("nest/rootfs"), mode.owner());
        attacker("root_attacker.c", &root.join("nest/rootfs/bin/root_attacker"));
        fs::create_dir_all(root.join("nest/bad/rootfs")).unwrap();
        for name in ["nest/config.json", "nest/bad/config.json"] {
            fs::write(root.join(name), config.to_string()).unwrap();
        }
    })
}

in_modes! {
    /// Root of the inner container holds every capability that the outer one could give, and gets nowhere either: SEC-01, 22, 90, 94
    /// and 97 as far as they are about a running container.
    [root_userns rootless_one rootless_range]
    fn sec_96_one_level_down_everything_holds_too(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let outer = nest(mode).start();
        wait_until("the inner container stands", || {
            assert!(outer.proc().alive(), "{}", outer.output());
            outer.output().contains("stands") && outer.output().contains("tried")
        });
        let root = outer.bundle().rootfs_dir();
        let refused = fs::read_to_string(root.join("refused")).unwrap();
        assert!(refused.contains("/proc"), "{refused}");
        assert_eq!(fs::read_dir(root.join("nest/bad/rootfs/etc")).unwrap().count(), 0);
        Attempts::of(&outer.output()).have_failed("init", mode);
        let later = outer.call("exec", &["urun", "--root", "/run/urun", "exec", "inner", "root_attacker"]).ok();
        Attempts::of(&later.stdout).have_failed("exec", mode);
        let state: Value = serde_json::from_str(&fs::read_to_string(root.join("state")).unwrap()).unwrap();
        assert_eq!((&state["mounts"], &state["proc"]), (&json!("locked"), &json!("fresh")));

        let children = outer.proc().read(&format!("task/{}/children", outer.proc().0));
        let mut children = children.split_whitespace().map(|pid| Proc(pid.parse().unwrap()));
        let inner = children.find(|child| child.read("cmdline").contains(SLEEP)).unwrap();
        assert_eq!(inner.map("uid_map"), [[0, mode.owner().0, 1]]);
        assert_eq!((inner.fds(), inner.status("NoNewPrivs")), (vec![0, 1, 2], "1".to_owned()));
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts"] {
            assert_ne!(inner.ns(kind), outer.proc().ns(kind), "{kind}");
        }
        for kind in ["mnt", "pid", "net", "ipc", "uts"] {
            assert_eq!(inner.ns_owner(kind), inner.ns("user"), "{kind}");
        }
    }
}
