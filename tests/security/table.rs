//! docs/attacks.md names for every attack of the dossier the defence and its tests, SECURITY.md for every promise: the rows and the tests
//! know each other.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The numbers that the dossier has given.
const NUMBERS: &[std::ops::RangeInclusive<u32>] =
    &[1..=18, 20..=26, 30..=36, 40..=46, 50..=50, 60..=60, 70..=70, 80..=82, 90..=97];

struct Row {
    number: u32,
    cells: Vec<String>,
}

impl Row {
    fn tests(&self) -> impl Iterator<Item = &str> {
        quoted(&self.cells[3])
    }
}

/// The words between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn rows() -> Vec<Row> {
    let text = page("docs/attacks.md");
    let lines = text.lines().filter_map(|line| line.strip_prefix("| SEC-")?.strip_suffix(" |"));
    lines
        .map(|line| {
            let cells: Vec<String> = line.split(" | ").map(str::to_owned).collect();
            assert_eq!(cells.len(), 5, "{line}");
            Row { number: cells[0].parse().unwrap(), cells }
        })
        .collect()
}

/// The names of all functions in the project's tests.
fn functions() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs: Vec<PathBuf> =
        ["tests", "src"].map(|dir| Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).into();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(entry).unwrap();
                let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
                found.extend(lines.filter_map(|line| Some(line.split_once(['(', '<'])?.0.to_owned())));
            }
        }
    }
    found
}

#[test]
fn every_attack_of_the_dossier_has_a_row_whose_tests_exist() {
    let (rows, functions) = (rows(), functions());
    let given: Vec<u32> = NUMBERS.iter().cloned().flatten().collect();
    assert_eq!(
        rows.iter().map(|row| row.number).collect::<Vec<_>>(),
        given,
        "one row for each, in their order"
    );
    for row in &rows {
        for test in row.tests() {
            assert!(functions.contains(test), "SEC-{:02} names `{test}`, which is no test", row.number);
        }
        let told = row.tests().next().is_some() || row.cells[3].starts_with("not run: ");
        assert!(told, "SEC-{:02} has neither a test nor a reason", row.number);
    }
}

#[test]
fn every_test_of_an_attack_is_in_the_table() {
    let rows = rows();
    for function in functions().iter().filter(|name| name.starts_with("sec_")) {
        assert!(
            rows.iter().any(|row| row.tests().any(|test| test == function)),
            "docs/attacks.md does not name {function}"
        );
    }
}

#[test]
fn every_promise_is_shown_by_tests_that_exist() {
    let (text, functions) = (page("SECURITY.md"), functions());
    let promises = text.split("## What is promised").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 5, "the table of promises is not where it was");
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(quoted(tests).next().is_some(), "no test: {row}");
        for test in quoted(tests) {
            assert!(functions.contains(test), "`{test}` is no test: {row}");
        }
    }
}
