//! `linux.resources` that is wrong.

use serde_json::json;
use urun::spec;

#[test]
fn resources_say_what_is_wrong() {
    for (resources, expected) in [
        (json!([]), "the document: expected an object, found a list"),
        (json!(null), "the document: is required"),
        (json!({ "devices": [{ "allow": true }] }), "devices[0].access: is required"),
        (json!({ "devices": [{ "access": "r" }] }), "devices[0].allow: is required"),
        (
            json!({ "devices": [{ "allow": true, "access": "rx" }] }),
            r#"devices[0].access: expected letters out of rwm, found "rx""#,
        ),
        (
            json!({ "devices": [{ "allow": true, "access": "r", "type": "u" }] }),
            r#"devices[0].type: unknown device type "u", expected one of a b c"#,
        ),
        (
            json!({ "devices": [{ "allow": true, "access": "r", "major": -2 }] }),
            "devices[0].major: expected a number from -1 to 4095, found -2",
        ),
        (
            json!({ "memory": { "limit": -2 } }),
            "memory.limit: expected a number from -1 to 9223372036854775807, found -2",
        ),
        (
            json!({ "memory": { "swappiness": 101 } }),
            "memory.swappiness: expected a number from 0 to 100, found 101",
        ),
        (json!({ "cpu": { "burst": 2, "quota": 1 } }), "cpu.burst: 2 is above the quota 1"),
        (json!({ "cpu": { "idle": 2 } }), "cpu.idle: expected a number from 0 to 1, found 2"),
        (
            json!({ "cpu": { "shares": "1" } }),
            r#"cpu.shares: expected a number from 0 to 18446744073709551615, found "1""#,
        ),
        (
            json!({ "pids": { "limit": 1e30 } }),
            "pids.limit: expected a number from -1 to 9223372036854775807, found 1e30",
        ),
        (json!({ "blockIO": { "weight": 9 } }), "blockIO.weight: expected a number from 10 to 1000, found 9"),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 1, "minor": 2 }] } }),
            "blockIO.throttleReadBpsDevice[0].rate: is required",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB/../x", "limit": 1 }] }),
            r#"hugepageLimits[0].pageSize: expected a page size such as 2MB, found "2MB/../x""#,
        ),
        (
            json!({ "network": { "priorities": [{ "name": "a b", "priority": 1 }] } }),
            r#"network.priorities[0].name: "a b" is not a name of a network device"#,
        ),
        (json!({ "rdma": { "a\nb": {} } }), r#"rdma["a\nb"]: is not a name of a device"#),
        (json!({ "unified": { "../x": "1" } }), r#"unified["../x"]: is not the name of a control file"#),
        (json!({ "unified": { "..": "1" } }), r#"unified[".."]: is not the name of a control file"#),
        (json!({ "unified": { "memory.high": 1 } }), r#"unified["memory.high"]: expected a string, found 1"#),
    ] {
        let error = spec::load_resources(resources.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
