//! `process` that is wrong.

use super::check;
use serde_json::json;

#[test]
fn the_process_says_what_is_wrong() {
    check(vec![
        ("/process/args", json!(null), "process.args: is required"),
        ("/process/args", json!([]), "process.args: expected at least one argument"),
        ("/process/args", json!(["a", null]), "process.args[1]: is required"),
        ("/process/cwd", json!(null), "process.cwd: is required"),
        ("/process/cwd", json!(""), "process.cwd: is empty"),
        ("/process/cwd", json!("tmp"), r#"process.cwd: expected an absolute path, found "tmp""#),
        ("/process/env", json!(["A=1", "B"]), r#"process.env[1]: expected NAME=value, found "B""#),
        ("/process/env", json!(["=1"]), r#"process.env[0]: expected NAME=value, found "=1""#),
        (
            "/process/user/uid",
            json!("abc"),
            r#"process.user.uid: expected a number from 0 to 4294967294, found "abc""#,
        ),
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: expected a number from 0 to 4294967294, found -1",
        ),
        (
            "/process/user/gid",
            json!(4_294_967_295_u32),
            "process.user.gid: expected a number from 0 to 4294967294, found 4294967295",
        ),
        ("/process/user/umask", json!(512), "process.user.umask: expected a number from 0 to 511, found 512"),
        (
            "/process/user/additionalGids",
            json!([1.5]),
            "process.user.additionalGids[0]: expected a number from 0 to 4294967294, found 1.5",
        ),
        ("/process/terminal", json!(1), "process.terminal: expected true or false, found 1"),
        ("/process/consoleSize", json!({ "height": 1 }), "process.consoleSize.width: is required"),
        (
            "/process/oomScoreAdj",
            json!(1001),
            "process.oomScoreAdj: expected a number from -1000 to 1000, found 1001",
        ),
        (
            "/process/capabilities",
            json!({ "bounding": "x" }),
            r#"process.capabilities.bounding: expected a list, found "x""#,
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]),
            r#"process.rlimits[0].type: unknown rlimit "RLIMIT_X", expected one of RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_STACK"#,
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }]),
            "process.rlimits[1].type: is given twice",
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 2, "hard": 1 }]),
            "process.rlimits[0].soft: 2 is above the hard limit 1",
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 2 }]),
            "process.rlimits[0].hard: is required",
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "3-1" }),
            r#"process.execCPUAffinity.initial: range 3-1 runs backwards, found "3-1""#,
        ),
        (
            "/process/execCPUAffinity",
            json!({ "final": "8192" }),
            r#"process.execCPUAffinity.final: 8192 is beyond 8191, found "8192""#,
        ),
        (
            "/process/execCPUAffinity",
            json!({ "final": "all" }),
            r#"process.execCPUAffinity.final: expected a list of numbers and ranges such as 0-3,7, found "all""#,
        ),
    ]);
}

#[test]
fn scheduling_says_what_is_wrong() {
    check(vec![
        ("/process/scheduler", json!({}), "process.scheduler.policy: is required"),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_ISO" }),
            r#"process.scheduler.policy: unknown policy "SCHED_ISO", expected one of SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE"#,
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_FIFO", "priority": 1, "nice": 1 }),
            "process.scheduler.nice: is for SCHED_OTHER and SCHED_BATCH alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "nice": 20 }),
            "process.scheduler.nice: expected a number from -20 to 19, found 20",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "priority": 1 }),
            "process.scheduler.priority: is for SCHED_FIFO and SCHED_RR alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_RR" }),
            "process.scheduler.priority: SCHED_FIFO and SCHED_RR need a priority from 1 to 99",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_IDLE", "period": 9 }),
            "process.scheduler.period: is for SCHED_DEADLINE alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 8 }),
            "process.scheduler: SCHED_DEADLINE needs 0 < runtime <= deadline <= period",
        ),
        (
            "/process/ioPriority",
            json!({ "class": "RT" }),
            r#"process.ioPriority.class: unknown class "RT", expected one of IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE"#,
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "process.ioPriority.priority: expected a number from 0 to 7, found 8",
        ),
    ]);
}
