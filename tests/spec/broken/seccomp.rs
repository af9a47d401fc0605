//! `linux.seccomp` that is wrong.

use super::check;
use serde_json::{Value, json};

#[test]
fn seccomp_says_what_is_wrong() {
    let profile = |extra: Value| {
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        for (key, value) in extra.as_object().unwrap() {
            profile[key] = value.clone();
        }
        profile
    };
    let rule = |rule: Value| profile(json!({ "syscalls": [rule] }));
    let arg = |arg: Value| rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg] }));
    check(vec![
        ("/linux/seccomp", json!({}), "linux.seccomp.defaultAction: is required"),
        (
            "/linux/seccomp",
            profile(json!({ "defaultAction": "DENY" })),
            r#"linux.seccomp.defaultAction: unknown action "DENY", expected one of SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_LOG SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP"#,
        ),
        (
            "/linux/seccomp",
            profile(json!({ "defaultErrnoRet": 1 })),
            "linux.seccomp.defaultErrnoRet: is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "defaultAction": "SCMP_ACT_NOTIFY" })),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default: the process could not be started",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"] })),
            r#"linux.seccomp.flags[0]: unknown flag "SECCOMP_FILTER_FLAG_NEW_LISTENER", expected one of SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"#,
        ),
        (
            "/linux/seccomp",
            profile(json!({ "listenerMetadata": "x" })),
            "linux.seccomp.listenerMetadata: is given without listenerPath",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "listenerPath": "x" })),
            r#"linux.seccomp.listenerPath: expected an absolute path, found "x""#,
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })),
            "linux.seccomp.listenerPath: is required by SCMP_ACT_NOTIFY",
        ),
        (
            "/linux/seccomp",
            profile(json!({
                "listenerPath": "", "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_NOTIFY" }],
            })),
            "linux.seccomp.listenerPath: is required by SCMP_ACT_NOTIFY",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": [], "action": "SCMP_ACT_KILL" })),
            "linux.seccomp.syscalls[0].names: expected at least one name",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"] })),
            "linux.seccomp.syscalls[0].action: is required",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 2 })),
            "linux.seccomp.syscalls[0].errnoRet: is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
            "linux.seccomp.syscalls[0].errnoRet: expected a number from 0 to 4095, found 4096",
        ),
        (
            "/linux/seccomp",
            arg(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })),
            "linux.seccomp.syscalls[0].args[0].index: expected a number from 0 to 5, found 6",
        ),
        (
            "/linux/seccomp",
            arg(json!({ "index": 0, "value": 1, "op": "EQ" })),
            r#"linux.seccomp.syscalls[0].args[0].op: unknown operator "EQ", expected one of SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_LE SCMP_CMP_LT SCMP_CMP_MASKED_EQ SCMP_CMP_NE"#,
        ),
    ]);
}
