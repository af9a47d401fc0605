//! Tables for people.

use std::fmt::Write;

/// Rows as lines, each column as wide as its widest cell, two blanks between them.
pub fn align<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{cell:width$}  ");
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}
