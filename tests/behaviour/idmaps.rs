//! User and group id maps: written as config.json says, or as far as the caller's rights go.

use crate::common::*;
use serde_json::{Value, json};

in_modes! {
    fn the_maps_are_those_of_the_configuration(mode) {
        let container = Bundle::new(mode).start();
        let (uids, gids) = mode.maps();
        assert_eq!(container.proc().map("uid_map"), uids);
        assert_eq!(container.proc().map("gid_map"), gids);
    }
}

in_modes! {
    fn the_process_is_the_mapped_id_on_the_host(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().numbers("Uid"), [mode.host_uid(0); 4]);
        assert_eq!(container.proc().numbers("Gid"), [mode.host_gid(0); 4]);
    }
}

in_modes! {
    [root root_userns root_in_userns rootless_range]
    fn another_user_inside_is_another_id_outside(mode) {
        let container = Bundle::new(mode).user(1000, 3000).start();
        assert_eq!(container.proc().numbers("Uid"), [mode.host_uid(1000); 4]);
        assert_eq!(container.proc().numbers("Gid"), [mode.host_gid(3000); 4]);
    }
}

in_modes! {
    [rootless_one]
    fn one_id_is_mapped_with_setgroups_denied(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().read("setgroups").trim(), "deny");
    }
}

in_modes! {
    [root_userns rootless_range]
    fn setgroups_stays_allowed_where_a_range_is_mapped(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().read("setgroups").trim(), "allow");
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn a_user_that_is_not_mapped_is_refused_by_number(mode) {
        let output = Bundle::new(mode).user(70_000, 0).run();
        output.refused_naming(&["70000"]);
    }
}

fn lines(lines: &[[u64; 3]]) -> Value {
    Value::Array(lines.iter().map(|[c, h, n]| json!({"containerID": c, "hostID": h, "size": n})).collect())
}

#[test]
fn uids_and_gids_may_be_mapped_differently() {
    let container = Bundle::new(Mode::RootUserns)
        .put("/linux/uidMappings", lines(&[[0, 131_072, 1000], [1000, 500_000, 1]]))
        .put("/linux/gidMappings", lines(&[[0, 131_072, 65536]]))
        .start();
    assert_eq!(container.proc().map("uid_map"), [[0, 131_072, 1000], [1000, 500_000, 1]]);
    assert_eq!(container.proc().map("gid_map"), [[0, 131_072, 65536]]);
}

#[test]
fn three_hundred_and_forty_lines_are_written_at_once() {
    // Small numbers: the kernel takes one write of less than a page.
    let many: Vec<[u64; 3]> = (0..340).map(|n| [n * 2, 10_000 + n * 2, 1]).collect();
    let container = Bundle::new(Mode::RootUserns)
        .put("/linux/uidMappings", lines(&many))
        .put("/linux/gidMappings", lines(&many))
        .with(|config| {
            // The terminal group of devpts is 5, an odd and so an unmapped id.
            let options = config["mounts"][2]["options"].as_array_mut().unwrap();
            options.retain(|option| option != "gid=5");
        })
        .start();
    assert_eq!(container.proc().map("uid_map").len(), 340);
    assert_eq!(container.proc().map("gid_map")[339], [678, 10_678, 1]);
}

#[test]
fn maps_that_cannot_be_are_refused_with_their_place() {
    if only_ours("others leave it to the kernel's EINVAL") {
        return;
    }
    let good = lines(&[[0, 131_072, 65536]]);
    for (what, uids, gids, words) in [
        ("overlap inside", lines(&[[0, 131_072, 10], [5, 200_000, 10]]), good.clone(), "linux.uidMappings"),
        ("overlap outside", lines(&[[0, 131_072, 10], [10, 131_075, 10]]), good.clone(), "linux.uidMappings"),
        ("size 0", lines(&[[0, 131_072, 0]]), good.clone(), "linux.uidMappings"),
        ("overflow", lines(&[[4_294_967_290, 131_072, 100]]), good.clone(), "linux.uidMappings"),
        ("only one of both", good.clone(), Value::Null, "linux.gidMappings"),
        ("nothing", lines(&[]), good.clone(), "linux.uidMappings"),
    ] {
        let bundle =
            Bundle::new(Mode::RootUserns).put("/linux/uidMappings", uids).put("/linux/gidMappings", gids);
        let output = bundle.run();
        assert_ne!(output.code, 0, "{what}");
        assert!(output.stderr.contains(words), "{what}: {}", output.stderr);
        Traces::none_of(&bundle);
    }
}

#[test]
fn three_hundred_and_forty_one_lines_are_refused() {
    if only_ours("others leave it to the kernel") {
        return;
    }
    let many: Vec<[u64; 3]> = (0..341).map(|n| [n * 2, 131_072 + n * 2, 1]).collect();
    let bundle = Bundle::new(Mode::RootUserns).put("/linux/uidMappings", lines(&many));
    bundle.run().refused_naming(&["linux.uidMappings", "340"]);
}

#[test]
fn mappings_without_user_namespace_are_refused() {
    if only_ours("crun invents a user namespace") {
        return;
    }
    let bundle = Bundle::new(Mode::Root)
        .put("/linux/uidMappings", lines(&[[0, 131_072, 65536]]))
        .put("/linux/gidMappings", lines(&[[0, 131_072, 65536]]));
    bundle.run().refused_naming(&["linux.uidMappings", "user namespace"]);
}

#[test]
fn a_joined_user_namespace_keeps_its_own_maps_whatever_the_configuration_says() {
    if subject().0 == Subject::Runc {
        return; // runc 1.1 takes no mappings together with a path
    }
    let pinned = PinnedNamespaces::with(&["--ipc"], Some((131_072, 65536)));
    let dummy = lines(&[[0, 0, 1]]);
    let container = Bundle::new(Mode::RootUserns)
        .namespace("user", Some(&pinned.path("user")))
        .put("/linux/uidMappings", dummy.clone())
        .put("/linux/gidMappings", dummy)
        .start();
    assert_eq!(container.proc().map("uid_map"), [[0, 131_072, 65536]]);
    assert_eq!(container.proc().numbers("Uid")[0], 131_072);
}

in_modes! {
    [rootless_range]
    fn ids_that_are_not_the_callers_are_refused_with_the_remedy(mode) {
        let bundle = Bundle::new(mode).put("/linux/uidMappings/1/hostID", json!(0)).put("/linux/uidMappings/1/size", json!(1));
        let output = bundle.run().refused_naming(&["uid"]);
        if subject().0 == Subject::Urun {
            assert!(output.stderr.contains("/etc/subuid"), "{}", output.stderr);
        }
        Traces::none_of(&bundle);
    }
}

in_modes! {
    [rootless_one]
    fn a_caller_without_subordinate_ids_is_told_where_they_come_from(mode) {
        let bundle = Bundle::new(mode).put("/linux/uidMappings/1", json!({"containerID": 1, "hostID": 300_000, "size": 65536}));
        let output = bundle.run().refused_naming(&["uid"]);
        if subject().0 == Subject::Urun {
            assert!(output.stderr.contains("/etc/subuid"), "{}", output.stderr);
        }
    }
}
