//! `mounts` that are wrong.

use super::check;
use serde_json::{Value, json};

#[test]
fn mounts_say_what_is_wrong() {
    let line = |size: u32| json!([{ "containerID": 0, "hostID": 1, "size": size }]);
    let mount = |extra: Value| {
        let mut mount = json!({ "destination": "/x", "type": "tmpfs" });
        for (key, value) in extra.as_object().unwrap() {
            mount[key] = value.clone();
        }
        json!([mount])
    };
    check(vec![
        ("/mounts", json!([1]), "mounts[0]: expected an object, found 1"),
        ("/mounts", mount(json!({ "destination": null })), "mounts[0].destination: is required"),
        ("/mounts", mount(json!({ "destination": "" })), "mounts[0].destination: is empty"),
        (
            "/mounts",
            mount(json!({ "type": "" })),
            "mounts[0].type: is required unless bind or rbind is among the options",
        ),
        ("/mounts", mount(json!({ "options": ["rbind"] })), "mounts[0].source: is required by a bind mount"),
        (
            "/mounts",
            mount(json!({ "type": "bind", "source": "" })),
            "mounts[0].source: is required by a bind mount",
        ),
        ("/mounts", mount(json!({ "options": [7] })), "mounts[0].options[0]: expected a string, found 7"),
        (
            "/mounts",
            mount(json!({ "uidMappings": line(1) })),
            "mounts[0].gidMappings: is required where uidMappings are given",
        ),
        (
            "/mounts",
            mount(json!({ "uidMappings": line(0), "gidMappings": line(1) })),
            "mounts[0].uidMappings[0].size: expected a number from 1 to 4294967295, found 0",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap"] })),
            "mounts[0].options: idmap without uidMappings needs a user namespace among linux.namespaces",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=@0-1-2;gids=0-1-2"] })),
            r#"mounts[0].options[0]: "@0-1-2": ids relative to the container's are not supported"#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=0-1-2"] })),
            "mounts[0].options[0]: idmap needs both uids and gids",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["ridmap=uids=0-1;gids=0-1-2"] })),
            r#"mounts[0].options[0]: expected CONTAINER-HOST-SIZE, found "0-1""#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=x"] })),
            r#"mounts[0].options[0]: expected uids=… or gids=…, found "x""#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=0-0-9#5-20-1;gids=0-1-2"] })),
            "mounts[0].options[0]: container id 5 is mapped twice",
        ),
        (
            "/mounts",
            mount(json!({ "options": [format!("idmap=gids=0-0-1;uids={}", vec!["0-0-1"; 341].join("#"))] })),
            "mounts[0].options[0]: 341 lines are more than the 340 that Linux allows",
        ),
    ]);
}
