//! Documents that are wrong, and the whole sentence that says so.

mod linux;
mod mounts;
mod process;
mod resources;
mod seccomp;

use serde_json::{Value, json};
use urun::spec;

/// The smallest document that loads, with all kinds of namespaces but the user namespace.
pub fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } },
        "mounts": [],
        "linux": { "namespaces": [
            { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
        ] },
    })
}

/// The base with one value put at a JSON pointer; null takes the property away.
pub fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut document = base();
    put(&mut document, pointer, value);
    document.to_string().into_bytes()
}

pub fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = document;
    for step in parent.split('/').skip(1) {
        place = &mut place[step];
    }
    place[key] = value;
}

fn check(cases: Vec<(&str, Value, &str)>) {
    assert!(spec::load(base().to_string().as_bytes()).is_ok());
    for (pointer, value, expected) in cases {
        let document = with(pointer, value);
        match spec::load(&document) {
            Ok(_) => panic!("loaded: {}", String::from_utf8_lossy(&document)),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }
}

#[test]
fn the_top_level_says_what_is_wrong() {
    check(vec![
        ("/ociVersion", json!(null), "ociVersion: is required"),
        ("/ociVersion", json!(1), "ociVersion: expected a string, found 1"),
        (
            "/ociVersion",
            json!("1.0"),
            r#"ociVersion: expected a semantic version such as 1.2.0, found "1.0""#,
        ),
        ("/ociVersion", json!("2.0.0"), r#"ociVersion: unsupported version "2.0.0", expected 1.x.y"#),
        ("/root", json!(null), "root: is required"),
        ("/root", json!("x"), r#"root: expected an object, found "x""#),
        ("/root/path", json!(null), "root.path: is required"),
        ("/root/path", json!(""), "root.path: is empty"),
        ("/root/path", json!("a\u{0}b"), r#"root.path: "a\0b" holds a NUL"#),
        ("/root/readonly", json!("no"), r#"root.readonly: expected true or false, found "no""#),
        ("/hostname", json!("h".repeat(65)), "hostname: 65 bytes are longer than the 64 that Linux allows"),
        ("/annotations", json!({ "": "x" }), "annotations: holds an empty key"),
        ("/annotations", json!({ "a.b": 1 }), r#"annotations["a.b"]: expected a string, found 1"#),
        ("/mounts", json!({}), "mounts: expected a list, found an object"),
        ("/hooks", json!([]), "hooks: expected an object, found a list"),
        ("/hooks", json!({ "prestart": [{}] }), "hooks.prestart[0].path: is required"),
        (
            "/hooks",
            json!({ "poststop": [{ "path": "x" }] }),
            r#"hooks.poststop[0].path: expected an absolute path, found "x""#,
        ),
        (
            "/hooks",
            json!({ "createRuntime": [{ "path": "/x", "timeout": 0 }] }),
            "hooks.createRuntime[0].timeout: expected a number from 1 to 2147483647, found 0",
        ),
    ]);
}

#[test]
fn all_errors_come_at_once() {
    let document = json!({ "ociVersion": 1, "process": { "user": { "uid": "abc" }, "cwd": 1 } });
    assert_eq!(
        spec::load(document.to_string().as_bytes()).unwrap_err().to_string(),
        "ociVersion: expected a string, found 1; root: is required; process.cwd: expected a string, found 1; \
         process.args: is required; process.user.uid: expected a number from 0 to 4294967294, found \"abc\""
    );
}

/// Every JSON pointer of a document.
fn pointers(tree: &Value, pointer: &str, all: &mut Vec<String>) {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let children: Vec<(String, &Value)> = match tree {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        Value::Object(members) => members.iter().map(|(key, member)| (escape(key), member)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        all.push(format!("{pointer}/{step}"));
        pointers(child, &format!("{pointer}/{step}"), all);
    }
}

/// A document that uses every property that is read.
fn everything() -> Value {
    serde_json::from_str(include_str!("../everything.json")).unwrap()
}

#[test]
fn a_value_of_the_wrong_type_is_reported_once_wherever_it_is() {
    let good = everything();
    spec::load(good.to_string().as_bytes()).unwrap();
    let mut all = Vec::new();
    pointers(&good, "", &mut all);
    assert!(all.len() > 250, "{}", all.len());
    for pointer in all {
        let mut bad = good.clone();
        let place = bad.pointer_mut(&pointer).unwrap();
        *place = if place.is_boolean() { json!("true") } else { json!(true) };
        let error = spec::load(bad.to_string().as_bytes()).expect_err(&pointer).to_string();
        let found =
            if bad.pointer(&pointer) == Some(&json!(true)) { "found true" } else { r#"found "true""# };
        assert_eq!(error.matches(found).count(), 1, "{pointer}: {error}");
        let text = json!(null);
        *bad.pointer_mut(&pointer).unwrap() = text;
        if let Err(error) = spec::load(bad.to_string().as_bytes()) {
            let error = error.to_string();
            let mut lines: Vec<&str> = error.split("; ").collect();
            let count = lines.len();
            lines.sort_unstable();
            lines.dedup();
            assert_eq!(lines.len(), count, "{pointer}: {error}");
        }
    }
}
