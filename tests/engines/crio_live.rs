//! A pod on a live CRI-O, through crictl: the drop-in of `contrib` has to be installed, and an image to be there.

use crate::common::run_limited;
use crate::common::{Output, Proc, Scratch};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Is there a CRI-O to talk to?
pub fn is_here() -> bool {
    let on_path =
        |name: &str| std::env::var("PATH").unwrap().split(':').any(|dir| Path::new(dir).join(name).exists());
    on_path("crio") && on_path("crictl")
}

/// A pod with a user namespace: run, exec, stop, remove.
pub fn pod() {
    let scratch = Scratch::new();
    let crictl = |args: &[&str]| -> Output {
        let mut command = Command::new("crictl");
        command.args(args);
        run_limited(command, scratch.path())
    };
    let images: Value = serde_json::from_str(&crictl(&["images", "--output", "json"]).ok().stdout).unwrap();
    let image = images["images"].as_array().into_iter().flatten().find_map(|image| {
        let name = image["repoTags"][0].as_str()?;
        name.contains("busybox").then(|| name.to_owned())
    });
    let image = image.expect("an image with busybox in its name has to be pulled before");
    let mapping = json!([{"container_id": 0, "host_id": 1_000_000, "length": 65536}]);
    let userns = json!({"mode": 0, "uids": mapping, "gids": mapping});
    let sandbox = json!({
        "metadata": {"name": "urun-test", "namespace": "default", "attempt": 1, "uid": "urun-test"},
        "linux": {"security_context": {"namespace_options": {"userns_options": userns}}},
    });
    let container = json!({
        "metadata": {"name": "shell"},
        "image": {"image": image},
        "command": ["sleep", "600"],
        "linux": {"security_context": {"namespace_options": {"userns_options": userns}}},
    });
    let file = |name: &str, value: &Value| {
        let path = scratch.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let (sandbox, container) = (file("pod.json", &sandbox), file("container.json", &container));
    let pod = crictl(&["runp", "--runtime", "urun", &sandbox]).ok();
    let remove = || crictl(&["rmp", "--force", pod.text()]);
    let life = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let id = crictl(&["create", "--no-pull", pod.text(), &container, &sandbox]).ok();
        crictl(&["start", id.text()]).ok();
        let inspect: Value = serde_json::from_str(&crictl(&["inspect", id.text()]).ok().stdout).unwrap();
        let process = Proc(inspect["info"]["pid"].as_u64().unwrap().try_into().unwrap());
        assert_eq!(process.numbers("Uid"), [1_000_000; 4]);
        assert_eq!(process.map("uid_map"), [[0, 1_000_000, 65536]]);
        let output = crictl(&["exec", "--sync", id.text(), "id", "-u"]).ok();
        assert_eq!(output.text(), "0");
        crictl(&["stop", "--timeout", "0", id.text()]).ok();
        assert!(!process.alive());
    }));
    remove().ok();
    if let Err(message) = life {
        std::panic::resume_unwind(message);
    }
}
