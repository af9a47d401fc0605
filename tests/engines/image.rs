//! The image `localhost/busybox`, without a network.

use crate::common::Bundle;
use crate::site::{Site, Who};
use serde_json::json;

/// An archive that `docker load`, `ctr images import` and `podman load` take.
pub fn archive(site: &Site) -> String {
    let dir = site.scratch().dir("archive", (0, 0), 0o755);
    Bundle::rootfs_at(&site.scratch().join("image"), (0, 0));
    let path = |name: &str| dir.join(name).display().to_string();
    let image = site.scratch().join("image").display().to_string();
    let run = |args: &[&str]| site.run(Who::Root, args).ok();
    run(&["tar", "-C", &image, "-cf", &path("layer.tar"), "."]);
    let sum = run(&["sha256sum", &path("layer.tar")]);
    let layer = format!("sha256:{}", sum.text().split(' ').next().unwrap());
    let environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": environment, "Cmd": ["sleep", "86400"]},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created_by": "tests/engines"}],
    });
    std::fs::write(path("config.json"), config.to_string()).unwrap();
    let manifest =
        json!([{"Config": "config.json", "RepoTags": ["localhost/busybox:latest"], "Layers": ["layer.tar"]}]);
    std::fs::write(path("manifest.json"), manifest.to_string()).unwrap();
    let archive = site.scratch().join("busybox.tar").display().to_string();
    run(&[
        "tar",
        "-C",
        &dir.display().to_string(),
        "-cf",
        &archive,
        "manifest.json",
        "config.json",
        "layer.tar",
    ]);
    archive
}
