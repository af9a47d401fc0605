//! The program of `probe.c`, which asks from inside what the host cannot see.

use std::{path::Path, process::Command, sync::OnceLock};

/// Puts the program into an image as `/bin/probe`.
pub fn put(root: &Path) {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/probe.c");
        let to = std::env::temp_dir().join(format!("urun-probe.{}", std::process::id()));
        let status =
            Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&to).arg(source).status().unwrap();
        assert!(status.success());
        let program = std::fs::read(&to).unwrap();
        std::fs::remove_file(&to).unwrap();
        program
    });
    let to = root.join("bin/probe");
    std::fs::write(&to, program).unwrap();
    crate::common::set_mode(&to, 0o755);
}
