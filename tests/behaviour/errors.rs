//! Bad configurations: refused in one sentence that names the place, with nothing left behind.

use crate::common::*;
use serde_json::{Value, json};

/// A bundle with this text as its config.json.
fn raw(text: &str) -> Output {
    let bundle = Bundle::new(Mode::RootUserns);
    std::fs::write(bundle.dir().join("config.json"), text).unwrap();
    let output = bundle.call(&["run", bundle.id()]);
    Traces::none_of(&bundle);
    output
}

#[test]
fn text_that_is_no_configuration_is_refused() {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(5_000_000));
    for text in [
        "",
        "{",
        "null",
        "[]",
        "42",
        "\"config\"",
        "{\"ociVersion\": 1}",
        "{}",
        &deep,
        &long,
        "\u{0}\u{1}",
        "{\"process\": []}",
    ] {
        let output = raw(text);
        assert_ne!(output.code, 0, "{text:.40}");
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
        assert!(output.code < 128, "{text:.40}: killed by a signal: {output:?}");
        assert!(output.stderr.len() < 8191, "{text:.40}: more than an engine reads");
    }
}

#[test]
fn a_missing_configuration_is_named() {
    let bundle = Bundle::new(Mode::RootUserns);
    let output = bundle.call(&["run", bundle.id()]);
    output.refused_naming(&["config.json", "No such file or directory"]);
    let output = bundle.call(&["run", "--bundle", "/no/such/bundle", bundle.id()]);
    output.refused_naming(&["/no/such/bundle"]);
}

#[test]
fn every_error_of_a_configuration_is_told_at_once_with_its_path() {
    if only_ours("the others stop at the first") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns)
        .put("/process/cwd", json!("relative"))
        .put("/process/args", json!([]))
        .put("/linux/rootfsPropagation", json!("sideways"))
        .put("/process/rlimits", json!([{"type": "RLIMIT_JOY", "soft": 1, "hard": 1}]));
    let output = bundle.run();
    assert_ne!(output.code, 0);
    for place in ["process.cwd", "process.args", "linux.rootfsPropagation", "process.rlimits[0]"] {
        assert!(output.stderr.contains(place), "{place}: {}", output.stderr);
    }
}

in_modes! {
    fn a_program_that_is_not_there_is_named_and_nothing_is_left(mode) {
        for (program, phrase) in [
            ("nosuchprogram", "executable file not found in $PATH"),
            ("/bin/nosuchprogram", "no such file or directory"),
            ("/etc/passwd", "permission denied"),
            ("/etc", "permission denied"),
        ] {
            let bundle = Bundle::new(mode).args([program]);
            let output = bundle.try_create(&[]);
            if subject().0 == Subject::Urun {
                output.clone().refused(phrase);
            }
            output.refused(program);
            Traces::none_of(&bundle);
        }
    }
}

#[test]
fn what_keeps_a_program_from_running_is_explained() {
    if only_ours("the others repeat the kernel's ENOENT") {
        return;
    }
    let script = |text: &'static str| {
        move |root: &std::path::Path| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(root.join("bin/script"), text).unwrap();
            std::fs::set_permissions(root.join("bin/script"), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
    };
    for (text, words) in
        [("#!/bin/sh\r\necho\r\n", "carriage return"), ("#!/no/such/interpreter\n", "/no/such/interpreter")]
    {
        let bundle = Bundle::new(Mode::RootUserns).rootfs(script(text)).args(["/bin/script"]);
        let output = bundle.run();
        assert_ne!(output.code, 0);
        assert!(output.stderr.to_lowercase().contains(words), "{words}: {}", output.stderr);
        Traces::none_of(&bundle);
    }
}

#[test]
fn an_error_goes_to_the_log_and_to_standard_error() {
    for format in ["json", "text"] {
        let bundle = Bundle::new(Mode::RootUserns).args(["/no/such/program"]);
        bundle.write();
        let log = bundle.scratch().join("log");
        let output =
            bundle.call(&["--log", log.to_str().unwrap(), "--log-format", format, "run", bundle.id()]);
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains("/no/such/program"), "{}", output.stderr);
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("/no/such/program"), "{text}");
        if format == "json" {
            let lines: Vec<&str> = text.lines().collect();
            let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
            assert_eq!(line["level"], "error");
            assert!(line["msg"].is_string() && line["time"].as_str().unwrap().contains('T'), "{line}");
            if subject().0 == Subject::Urun {
                assert_eq!(lines.len(), 1, "Podman reads the file as one object");
            }
        }
    }
}

#[test]
fn the_log_file_is_there_even_when_nothing_is_logged() {
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let log = bundle.scratch().join("log");
    bundle.call(&["--log", log.to_str().unwrap(), "--log-format", "json", "run", "-d", bundle.id()]).ok();
    if subject().0 != Subject::Crun {
        assert!(log.exists());
    }
}

in_modes! {
    fn a_mount_that_fails_late_leaves_nothing(mode) {
        let bundle = Bundle::new(mode)
            .mount("tmpfs", "tmpfs", "/mnt/a", &[])
            .mount("nosuchfs", "none", "/mnt/b", &[]);
        bundle.try_create(&[]).refused_naming(&["nosuchfs"]);
        if subject().0 != Subject::Crun {
            Traces::none_of(&bundle);
        }
        // And the id is free.
        let mut bundle = bundle;
        bundle.config["mounts"].as_array_mut().unwrap().pop();
        bundle.run().ok();
    }
}

#[test]
fn strings_with_a_nul_are_refused_with_their_place() {
    if only_ours("the others cut them short or not") {
        return;
    }
    for (pointer, place) in [
        ("/process/args/0", "process.args[0]"),
        ("/process/env/0", "process.env[0]"),
        ("/process/cwd", "process.cwd"),
        ("/hostname", "hostname"),
        ("/mounts/0/destination", "mounts[0].destination"),
    ] {
        let bundle = Bundle::new(Mode::RootUserns).put(pointer, json!("/a\u{0}b"));
        bundle.run().refused_naming(&[place]);
    }
}

#[test]
fn a_version_of_another_generation_is_refused() {
    let bundle = Bundle::new(Mode::RootUserns).put("/ociVersion", json!("2.0.0"));
    if only_ours("crun does not look") {
        return;
    }
    bundle.run().refused_naming(&["ociVersion", "2.0.0"]);
    for version in ["1.0.0", "1.0.2-dev", "1.1.0-rc.1", "1.2.1", "1.3.0"] {
        Bundle::new(Mode::RootUserns).put("/ociVersion", json!(version)).run().ok();
    }
}

#[test]
fn unknown_properties_are_ignored_everywhere() {
    let mut bundle = Bundle::new(Mode::RootUserns);
    for pointer in [
        "/extra",
        "/process/extra",
        "/linux/extra",
        "/root/extra",
        "/mounts/0/extra",
        "/process/user/extra",
        "/vm",
        "/windows",
    ] {
        bundle = bundle.put(pointer, json!({"a": [1, null, {"b": "c"}]}));
    }
    bundle.run().ok();
}

#[test]
fn a_nested_user_namespace_limit_is_explained() {
    if only_ours("the others say ENOSPC") {
        return;
    }
    // In a namespace where no further one may be made.
    let outer = PinnedNamespaces::outer();
    let limit =
        format!("nsenter -t {} -U -m -- sh -c 'echo 0 > /proc/sys/user/max_user_namespaces'", outer.pid());
    let _ = std::process::Command::new("sh").args(["-c", &limit]).status();
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let mut command = Mode::RootInUserns.command(&copy_of_subject(&bundle), &bundle.dir(), Some(&outer));
    let root = bundle.scratch().dir("outer", (200_000, 200_000), 0o755);
    command.arg("--root").arg(root).args(["run", bundle.id()]);
    let output = bundle.call_command(command);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("max_user_namespaces"), "{}", output.stderr);
}

#[test]
fn a_handler_that_is_not_there_is_refused_by_name() {
    if only_ours("crun runs it as a plain program where the handler is not built in") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).put("/annotations", json!({"run.oci.handler": "krun"}));
    bundle.run().refused_naming(&["run.oci.handler", "krun"]);
    Traces::none_of(&bundle);
}

fn copy_of_subject(bundle: &Bundle) -> std::path::PathBuf {
    let copy = bundle.scratch().join("subject");
    crate::common::copy_program(&subject().1, &copy);
    copy
}
