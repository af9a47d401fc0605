//! A directory of the host that everybody may write to and nobody must have touched.

use crate::common::Bundle;
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a directory holds: mode, owner, size and content of each name.
type Seen = BTreeMap<String, (u32, u32, u32, Vec<u8>)>;

/// The directory and what it held.
pub struct Canary {
    path: PathBuf,
    before: Seen,
}

impl Canary {
    /// A directory on the host, outside of the bundle, with a writable file called `file`.
    pub fn new(bundle: &Bundle) -> Self {
        let path = bundle.scratch().dir("canary", bundle.mode().caller(), 0o777);
        for name in ["file", "null", "console", "ptmx"] {
            bundle.scratch().file(&format!("canary/{name}"), "alive\n", bundle.mode().caller(), 0o666);
        }
        let before = look(&path);
        Self { path, before }
    }

    /// Its place on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Fails the test unless nothing has changed.
    #[track_caller]
    pub fn is_untouched(&self) {
        assert_eq!(look(&self.path), self.before, "the host was touched");
    }
}

fn look(dir: &Path) -> Seen {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let content = if meta.is_file() { std::fs::read(entry.path()).unwrap() } else { Vec::new() };
            (entry.file_name().into_string().unwrap(), (meta.mode(), meta.uid(), meta.gid(), content))
        })
        .collect()
}
