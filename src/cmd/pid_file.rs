//! The pid file: engines read it the moment the runtime has ended.

use crate::error::{Context, Error, Result};
use std::{ffi::OsString, fs, os::unix::fs::OpenOptionsExt, path::Path};

/// Writes the number, without a newline, under a temporary name beside `path` and renames it: a reader sees all of it
/// or none.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::new(format_args!("pid file {}: no file name", path.display())))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| std::io::Write::write_all(&mut file, pid.to_string().as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The write has failed; a file that is not there is the best that can come of this.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("write pid file {}", path.display()))
}

/// Removes what is there: conmon takes a file that exists for a process that runs, even the empty one that CRI-O puts
/// there beforehand.
pub fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove pid file {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_number_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("urun-pid-file-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("pid");
        fs::write(&path, "").unwrap();
        write(&path, 4711).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4711");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file stays");
        assert!(write(&directory.join("no/pid"), 1).unwrap_err().to_string().contains("write pid file"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
