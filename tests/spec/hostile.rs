//! Documents that mean harm: they are refused or read, but nothing panics and nothing takes long.

use crate::golden::documents;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use urun::spec;

fn load_all(bytes: &[u8]) {
    // Whether each is accepted is not the question here.
    drop(spec::load(bytes));
    drop(spec::load_process(bytes, None));
    drop(spec::load_resources(bytes));
}

/// Values that code which trusts its input trips over.
fn poison() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(4_294_967_295_u32),
        json!(1.5),
        json!(""),
        json!("/"),
        json!(".."),
        json!("é\u{0}\n\"="),
        json!("idmap=uids=0-4294967295-4294967295#@;gids"),
        json!("0-8191,4294967295-"),
        json!([]),
        json!([[[]]]),
        json!({}),
        json!([null, 1, "x", {}]),
        json!({"": null, "..": {"": 1}}),
    ])
}

/// Puts `value` in the place that `turns` lead to.
fn poison_at(tree: &mut Value, turns: &[prop::sample::Index], value: Value) {
    let Some((turn, rest)) = turns.split_first() else {
        *tree = value;
        return;
    };
    match tree {
        Value::Array(items) if !items.is_empty() => {
            let index = turn.index(items.len());
            poison_at(&mut items[index], rest, value);
        }
        Value::Object(members) if !members.is_empty() => {
            let index = turn.index(members.len());
            if let Some(member) = members.values_mut().nth(index) {
                poison_at(member, rest, value);
            }
        }
        leaf => *leaf = value,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        load_all(&bytes);
    }

    #[test]
    fn arbitrary_text_in_a_document_never_panics(text in "[\\[\\]{}:,\"0-9a-z\\\\\u{0}-\u{1f}]{0,200}") {
        load_all(text.as_bytes());
        load_all(format!("{{\"ociVersion\":\"1.0.0\",\"process\":{text}}}").as_bytes());
    }

    #[test]
    fn poisoned_documents_never_panic(
        choice in any::<prop::sample::Index>(),
        turns in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..7), 1..6),
        values in prop::collection::vec(poison(), 6),
    ) {
        let documents = documents("configs");
        let mut tree: Value = serde_json::from_slice(&documents[choice.index(documents.len())].1).unwrap();
        for (turns, value) in turns.iter().zip(values) {
            poison_at(&mut tree, turns, value);
        }
        load_all(tree.to_string().as_bytes());
        for part in ["/process", "/linux/resources"] {
            load_all(tree.pointer(part).unwrap_or(&Value::Null).to_string().as_bytes());
        }
    }

    #[test]
    fn damaged_documents_never_panic(
        choice in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let documents = documents("configs");
        let mut bytes = documents[choice.index(documents.len())].1.clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        load_all(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        load_all(&bytes);
    }
}

#[test]
fn the_time_for_a_huge_document_stays_in_proportion() {
    let many = |item: &str| vec![item; 100_000].join(",");
    let documents = [
        format!(
            r#"{{"mounts":[{}]}}"#,
            many(r#"{"destination":"x","options":["r","idmap=1"],"uidMappings":[{}]}"#)
        ),
        format!(r#"{{"linux":{{"namespaces":[{}]}}}}"#, many(r#"{"type":"pid"}"#)),
        format!(r#"{{"linux":{{"uidMappings":[{}]}}}}"#, many(r#"{"containerID":0,"hostID":0,"size":1}"#)),
        format!(r#"{{"linux":{{"sysctl":{{{}}}}}}}"#, many(r#""a":0"#)),
        format!(r#"{{"process":{{{}}}}}"#, many(r#""user":{"uid":-1}"#)),
        format!(r#"{{"process":{{"execCPUAffinity":{{"initial":"{}"}}}}}}"#, many("0-8191")),
        format!(
            r#"{{"process":{{"capabilities":{{"ambient":[{}]}},"env":[{}]}}}}"#,
            many(r#""CAP_X""#),
            many(r#""x""#)
        ),
        format!(r#"{{"mounts":[{{"options":["{}"],"type":"bind","source":"a"}}]}}"#, many("a")),
        format!(
            r#"{{"mounts":[{{"options":["idmap=uids={};gids=0-0-1"]}}]}}"#,
            vec!["0-0-1"; 100_000].join("#")
        ),
        format!(r#"{{"hostname":"{}"}}"#, many("é")),
        "[".repeat(1_000_000),
    ];
    for document in documents {
        let start = Instant::now();
        let error = spec::load(document.as_bytes()).unwrap_err().to_string();
        let (elapsed, head) = (start.elapsed(), &document[..40.min(document.len())]);
        assert!(elapsed < Duration::from_secs(5), "{head}: {elapsed:?}");
        assert!(error.len() < 8 * 1024, "{head}: {} bytes", error.len());
    }
}
