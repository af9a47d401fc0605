//! `ids`: what it tells is what the kernel does.

use crate::common::*;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::os::unix::fs::chown;

/// `ids --format json`.
#[track_caller]
fn document(container: &Container) -> Value {
    serde_json::from_str(&container.call("ids", &["--format", "json"]).ok().stdout).unwrap()
}

/// The lines of a map as `[inside, outside, size]`.
fn lines(map: &Value) -> Vec<[u32; 3]> {
    let number = |line: &Value, key: &str| u32::try_from(line[key].as_u64().unwrap()).unwrap();
    let line = |line: &Value| ["containerID", "hostID", "size"].map(|key| number(line, key));
    map.as_array().unwrap().iter().map(line).collect()
}

/// What is said about the mount at `point`.
#[track_caller]
fn at<'a>(document: &'a Value, point: &str) -> &'a Value {
    let mounts = document["mounts"].as_array().unwrap();
    mounts
        .iter()
        .find(|mount| mount["destination"] == point)
        .unwrap_or_else(|| panic!("no {point}: {document}"))
}

/// What the mount at `point` shows inside of a file that belongs to `host` outside.
fn shown(document: &Value, point: &str, host: u32) -> u32 {
    let line = lines(&at(document, point)["uidMappings"]);
    let found = line.iter().find(|[_, outside, size]| host >= *outside && host - outside < *size);
    found.map_or(65_534, |[inside, outside, _]| inside + (host - outside))
}

fn mapped(bundle: Bundle, line: [u32; 3]) -> Bundle {
    bundle.with(|config| {
        let lines = json!([{"containerID": line[0], "hostID": line[1], "size": line[2]}]);
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        (last["uidMappings"], last["gidMappings"]) = (lines.clone(), lines);
    })
}

in_modes! {
    fn the_map_of_the_container_is_told_as_its_caller_sees_it(mode) {
        if only_ours("nobody else has the verb") {
            return;
        }
        let container = Bundle::new(mode).start();
        let document = document(&container);
        assert_eq!(document["pid"], container.proc().0);
        // The root of a namespace that somebody else made counts in its own ids.
        let own = !matches!(mode, Mode::Root | Mode::RootInUserns);
        assert_eq!(document["userNamespace"], own);
        for (map, key) in [("uid_map", "uidMappings"), ("gid_map", "gidMappings")] {
            let mut really = if own { container.proc().map(map) } else { vec![[0, 0, u32::MAX]] };
            really.sort_by_key(|line| line[1]);
            let mut told = lines(&document[key]);
            told.sort_by_key(|line| line[1]);
            assert_eq!(told, really);
            assert_eq!(lines(&at(&document, "/")[key]), really, "the root file system");
        }
        let points = container.proc().mounts().len();
        assert_eq!(document["mounts"].as_array().unwrap().len(), points);
    }
}

/// Files of many owners, on a mount of each kind: what `ids` says about them is what stat says inside.
#[test]
fn what_is_told_about_owners_is_what_is_seen_inside() {
    if only_ours("nobody else has the verb") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let owners = [0, 7, 1000, 65_535, 131_072, 131_079, 196_607, 196_608, 4_000_000];
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    mount(Some("tmpfs"), &volume, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    let [lower, empty] = ["lower", "empty"].map(|name| bundle.scratch().dir(name, (0, 0), 0o755));
    for (dir, owner) in [&volume, &lower].into_iter().flat_map(|dir| owners.map(|owner| (dir, owner))) {
        std::fs::write(dir.join(owner.to_string()), "").unwrap();
        chown(dir.join(owner.to_string()), Some(owner), Some(owner)).unwrap();
    }
    let options = format!("lowerdir={}:{}", lower.display(), empty.display());
    let bundle = bundle.mount("bind", &volume, "/mnt/plain", &["bind"]);
    let bundle = mapped(bundle.mount("bind", &volume, "/mnt/mapped", &["bind"]), [0, 131_072, 65_536]);
    let bundle = mapped(bundle.mount("bind", &volume, "/mnt/part", &["bind"]), [1000, 131_082, 10]);
    let bundle = mapped(bundle.mount("bind", &volume, "/mnt/elsewhere", &["bind"]), [0, 500_000, 1000]);
    let bundle = mapped(bundle.mount("overlay", "overlay", "/mnt/layers", &[&options]), [0, 131_072, 65_536]);
    let points = ["/mnt/plain", "/mnt/mapped", "/mnt/part", "/mnt/elsewhere", "/mnt/layers"];
    let files = points.iter().flat_map(|point| owners.map(|owner| format!("{point}/{owner}")));
    let script = format!("stat -c %u {}; echo done; exec sleep 600", files.collect::<Vec<_>>().join(" "));
    let container = bundle.sh(&script).start();
    container.wait_for("done");
    let document = document(&container);
    let told = points.iter().flat_map(|point| owners.map(|owner| shown(&document, point, owner).to_string()));
    let seen = container.output();
    assert_eq!(told.collect::<Vec<_>>().join("\n"), seen.trim_end().trim_end_matches("done").trim_end());
    let kinds = points.map(|point| at(&document, point)["idMapped"].clone());
    assert_eq!(kinds, ["no", "mount", "mount", "mount", "layers"]);
    let table = container.call("ids", &[]).ok().stdout;
    let line = |point: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("{point} "))).unwrap();
        line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        points.map(line),
        [
            "no 131072-196607 0-65535",
            "mount 0-65535 0-65535",
            "mount 1000-1009 10-19",
            "mount all nobody",
            "layers 0-65535 0-65535",
        ]
    );
    assert!(
        table.ends_with("\nInside, all other owners look like nobody (uid 65534, gid 65534).\n"),
        "{table}"
    );
}

#[test]
fn uids_and_gids_that_differ_have_lines_of_their_own() {
    if only_ours("nobody else has the verb") {
        return;
    }
    let map = |first: u32| json!([{"containerID": 0, "hostID": first, "size": 65_536}]);
    let container = Bundle::new(Mode::RootUserns).put("/linux/gidMappings", map(500_000)).start();
    let table = container.call("ids", &[]).ok().stdout;
    let root = table.lines().skip_while(|line| !line.starts_with("/ ")).take(2);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let told: Vec<String> = root.map(words).collect();
    assert!(told[0].ends_with("no uid 131072-196607 uid 0-65535"), "{table}");
    assert_eq!(told[1], "gid 500000-565535 gid 0-65535");
}

#[test]
fn a_joined_user_namespace_is_told_and_one_that_is_the_callers_own_is_none() {
    if only_ours("nobody else has the verb") {
        return;
    }
    let pinned = PinnedNamespaces::with(&["--ipc"], Some((300_000, 1000)));
    let joins = |path: &str| Bundle::new(Mode::RootUserns).namespace("user", Some(path));
    let container = joins(&pinned.path("user")).rootfs(|_| ()).start();
    assert_eq!(lines(&document(&container)["uidMappings"]), [[0, 300_000, 1000]]);
    let container = Bundle::new(Mode::Root).start();
    assert_eq!(document(&container)["userNamespace"], false);
    let table = container.call("ids", &[]).ok().stdout;
    assert!(table.contains("no user namespace of its own: every id is the same"), "{table}");
    assert!(!table.contains("nobody"), "{table}");
}

#[test]
fn an_id_mapped_mount_without_a_user_namespace_is_told_as_well() {
    if only_ours("nobody else has the verb") {
        return;
    }
    let bundle = Bundle::new(Mode::Root);
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    mount(Some("tmpfs"), &volume, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let container = mapped(bundle.mount("bind", &volume, "/mnt/a", &["bind"]), [1000, 0, 1]).start();
    assert_eq!(lines(&at(&document(&container), "/mnt/a")["uidMappings"]), [[0, 1000, 1]]);
    let table = container.call("ids", &[]).ok().stdout;
    assert!(table.contains("look like nobody"), "{table}");
}

in_modes! {
    fn a_container_that_has_ended_and_one_that_is_not_there_are_errors(mode) {
        if only_ours("nobody else has the verb") {
            return;
        }
        let container = Bundle::new(mode).sh("exit 0").create();
        container.start_and_end();
        container.wait_stopped();
        container.call("ids", &[]).refused_naming(&["show the ids of container", "container not running"]);
        container.bundle().call(&["ids", "nosuch"]).refused("does not exist");
    }
}

in_modes! {
    fn a_created_container_is_told_or_says_when_it_will_be(mode) {
        if only_ours("nobody else has the verb") {
            return;
        }
        let container = Bundle::new(mode).create();
        let output = container.call("ids", &[]);
        match mode {
            Mode::Root | Mode::RootUserns => drop(output.ok()),
            // Others may not look into a process that holds more than they do.
            _ if output.code == 0 => assert!(output.stdout.contains("ON THE HOST"), "{}", output.stdout),
            _ => drop(output.refused("once it is started")),
        }
    }
}

/// Through a symlink of the image a mount arrives where config.json does not name it: only the kernel knows its map.
#[test]
fn the_kernel_is_asked_for_a_map_where_config_json_cannot_tell() {
    if only_ours("nobody else has the verb") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns)
        .rootfs(|root| std::os::unix::fs::symlink("/run", root.join("mnt/link")).unwrap());
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    let bundle = mapped(bundle.mount("bind", &volume, "/mnt/link/inner", &["bind"]), [1000, 131_072, 10]);
    let container = bundle.start();
    let document = document(&container);
    let told = &at(&document, "/run/inner")["uidMappings"];
    match linux() >= (6, 15) {
        true => assert_eq!(lines(told), [[0, 1000, 10]]),
        false => assert_eq!(*told, Value::Null, "nobody can know"),
    }
}
