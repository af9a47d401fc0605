//! Words that were accepted once.

use std::path::Path;

/// Compares paragraphs with those of a file; `UPDATE_GOLDEN=1` writes them anew.
#[track_caller]
pub fn golden_words(file: &Path, now: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, now).unwrap();
    }
    let before = std::fs::read_to_string(file).unwrap_or_default();
    for (was, is) in before.split("\n\n").zip(now.split("\n\n")) {
        assert_eq!(was, is, "UPDATE_GOLDEN=1 accepts the new words");
    }
    assert_eq!(before, now, "UPDATE_GOLDEN=1 accepts the new words");
}
