//! Annotations, some of which come from images and from users of a cluster (SEC-60; CVE-2024-3154).

use crate::{
    canary::Canary,
    common::{Bundle, Traces, in_modes},
};
use serde_json::json;

/// Texts that somebody might execute, expand or open.
fn values(at: &str) -> Vec<String> {
    vec![
        format!("/bin/sh -c 'echo evil >{at}/evil'"),
        format!("$(echo evil >{at}/evil)"),
        format!("`echo evil >{at}/evil`"),
        format!("; echo evil >{at}/evil"),
        format!("binary:///bin/sh?-c&echo evil >{at}/evil"),
        format!("[('/bin/sh', ['/bin/sh', '-c', 'echo evil >{at}/evil'], false)]"),
        format!("{at}/evil"),
        format!("../../../../../../../..{at}/evil"),
        "x".repeat(70_000),
        "\u{1}\n\u{7f}\u{202e}".to_owned(),
        String::new(),
    ]
}

in_modes! {
    /// What urun documents itself is left out here: those names are listed by `features` as unsafe to let through.
    fn sec_60_no_annotation_is_executed_expanded_or_opened(mode) {
        let names = [
            "org.systemd.property.ExecStart", "org.systemd.property.ExecStartPre", "org.systemd.property.ExecStopPost",
            "org.systemd.property.Environment", "org.systemd.property.RootDirectory",
            "org.criu.config", "run.oci.handler", "run.oci.delegate-cgroup", "run.oci.systemd.subgroup",
            "run.oci.seccomp.plugins", "run.oci.seccomp_fail_unknown_syscall", "run.oci.seccomp_bpf_data",
            "run.oci.pidfd_receiver", "run.oci.mount_context_type", "run.oci.krun.config", "krun.ram_mib",
            "module.wasm.image/variant", "io.containers.trace-syscall", "io.kubernetes.cri-o.Devices",
            "containerd.io/restart.loguri", "io.urun.no-such-thing", "LD_PRELOAD", "", "a\nb", "\u{202e}",
        ];
        let bundle = Bundle::new(mode).args(["env"]);
        let canary = Canary::new(&bundle);
        let values = values(&canary.path().display().to_string());
        // All at once, with each text; and each alone, because one that is refused hides the others.
        let all = values.iter().map(|value| names.map(|name| (name, value)).to_vec());
        let alone = names.iter().zip(values.iter().cycle()).map(|(name, value)| vec![(*name, value)]);
        let mut bundle = bundle;
        for annotations in all.chain(alone) {
            bundle.config["annotations"] = annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let output = bundle.run();
            canary.is_untouched();
            assert!(!output.stdout.contains("evil"), "{annotations:?}: {output:?}");
            if output.code != 0 {
                assert!(!output.stderr.is_empty(), "{annotations:?} failed without a word");
                bundle.call(&["delete", "--force", bundle.id()]);
            }
        }
        Traces::none_of(&bundle);
    }
}
