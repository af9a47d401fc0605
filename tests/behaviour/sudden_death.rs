//! A process of the launch is killed in the middle: the others end, and nothing waits for the dead.

use crate::common::*;
use serde_json::json;

/// A hook of this kind, run by the runtime, that kills.
fn killing(bundle: Bundle, kind: &str, whom: &str) -> Bundle {
    let script = format!("read -r ASSEMBLER INIT HOOK < /proc/$PPID/task/$PPID/children; kill -9 {whom}");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    bundle.put("/hooks", json!({})).put(&format!("/hooks/{kind}/-"), hook)
}

/// Processes whose arguments name the container: the runtime and its copies, which wait in their own code.
fn copies_of_the_runtime(bundle: &Bundle) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let texts = arguments.map(|arguments| String::from_utf8_lossy(&arguments).into_owned());
    texts.filter(|text| text.contains(bundle.id())).collect()
}

in_modes! {
    [root_userns root_in_userns rootless_one rootless_range]
    fn assembler_and_init_end_with_a_runtime_that_is_killed(mode) {
        if only_ours("the others have other processes") {
            return;
        }
        let bundle = killing(Bundle::new(mode), "createRuntime", "$PPID");
        let output = bundle.try_create(&[]);
        assert_eq!(output.code, 128 + 9, "{output:?}");
        wait_until("nobody is left", || copies_of_the_runtime(&bundle).is_empty());
        bundle.call(&["delete", "--force", bundle.id()]).ok();
        Traces::none_of(&bundle);
    }
}

in_modes! {
    [root_userns root_in_userns rootless_one rootless_range]
    fn a_launch_that_loses_a_process_fails_and_leaves_nothing(mode) {
        if only_ours("the others have other processes") {
            return;
        }
        for (whom, words) in [
            ("$ASSEMBLER", "the assembler ended without a word (SIGKILL)"),
            ("$INIT", "the container's init ended without a word (SIGKILL)"),
        ] {
            let bundle = killing(Bundle::new(mode), "createRuntime", whom);
            bundle.try_create(&[]).refused_naming(&[words]);
            assert_eq!(copies_of_the_runtime(&bundle), Vec::<String>::new());
            Traces::none_of(&bundle);
        }
    }
}

in_modes! {
    [root_userns rootless_range]
    fn a_container_outlives_the_runtime_that_is_killed_behind_its_start(mode) {
        if only_ours("the others run hooks elsewhere") {
            return;
        }
        let bundle = killing(Bundle::new(mode), "poststart", "$PPID");
        bundle.write();
        assert_eq!(bundle.call(&["run", "-d", bundle.id()]).code, 128 + 9);
        let state = bundle.call(&["state", bundle.id()]).ok();
        assert!(state.stdout.contains("\"running\""), "{}", state.stdout);
        bundle.call(&["delete", "--force", bundle.id()]).ok();
        Traces::none_of(&bundle);
    }
}
