//! Runs scenarios, tells their results as libtest does, and writes the table of engine × scenario × caller × driver.

use crate::site::{Who, cgroup_driver};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A name and what is done with the engine.
pub type Scenario<E> = (&'static str, fn(&E));

/// How one scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed(String),
    NotRun(String),
}

#[derive(Clone, Debug)]
struct Row {
    engine: &'static str,
    scenario: String,
    who: &'static str,
    end: End,
    time: Duration,
}

impl Row {
    fn new(engine: &'static str, who: Who, scenario: &str, end: End) -> Self {
        Self { engine, scenario: scenario.to_owned(), who: who.name(), end, time: Duration::ZERO }
    }
}

thread_local! {
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The results so far, shared by all suites.
#[derive(Debug, Default)]
pub struct Report {
    filters: Vec<String>,
    rows: Mutex<Vec<Row>>,
}

impl Report {
    /// A report of the scenarios whose name has one of the words on the command line, as libtest chooses tests.
    pub fn new() -> Self {
        std::panic::set_hook(Box::new(|info| MESSAGE.set(info.to_string())));
        let filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
        Self { filters, rows: Mutex::default() }
    }

    /// Runs the scenario unless the command line leaves it out.
    pub fn run(&self, engine: &'static str, who: Who, scenario: &str, body: impl FnOnce()) {
        if self.chosen(engine, who, scenario) {
            let begin = Instant::now();
            let end = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => End::Passed,
                Err(_) => End::Failed(MESSAGE.take()),
            };
            self.add(Row { time: begin.elapsed(), ..Row::new(engine, who, scenario, end) });
        }
    }

    /// Runs scenarios on one engine, which is started before the first and ended after the last.
    pub fn suite<E>(
        &self,
        engine: &'static str,
        who: Who,
        start: impl FnOnce() -> E,
        scenarios: &[Scenario<E>],
    ) {
        let chosen = || scenarios.iter().filter(|(name, _)| self.chosen(engine, who, name));
        if chosen().next().is_none() {
            return;
        }
        if let Ok(subject) = catch_unwind(AssertUnwindSafe(start)) {
            chosen().for_each(|(name, body)| self.run(engine, who, name, || body(&subject)));
        } else {
            let end = End::Failed(format!("the engine did not start: {}", MESSAGE.take()));
            chosen().for_each(|(name, _)| self.add(Row::new(engine, who, name, end.clone())));
        }
    }

    /// Lists a scenario that cannot run here.
    pub fn not_run(&self, engine: &'static str, who: Who, scenario: &str, why: &str) {
        if self.chosen(engine, who, scenario) {
            self.add(Row::new(engine, who, scenario, End::NotRun(why.to_owned())));
        }
    }

    fn chosen(&self, engine: &str, who: Who, scenario: &str) -> bool {
        let name = format!("{engine}::{}::{scenario}", who.name());
        self.filters.is_empty() || self.filters.iter().any(|word| name.contains(word.as_str()))
    }

    fn add(&self, row: Row) {
        let said = match &row.end {
            End::Passed => "ok".to_owned(),
            End::Failed(message) => format!("FAILED\n{message}\n"),
            End::NotRun(why) => format!("ignored, {why}"),
        };
        println!("test {}::{}::{} ... {said}", row.engine, row.who, row.scenario);
        self.rows.lock().unwrap().push(row);
    }

    /// Writes the table to `ENGINES_TABLE`, else that of all scenarios to `target/engines-DRIVER.tsv`, prints the sum, and says whether nothing failed.
    pub fn finish(&self) -> bool {
        let mut rows = self.rows.lock().unwrap().clone();
        rows.sort_by(|a, b| (a.engine, a.who, &a.scenario).cmp(&(b.engine, b.who, &b.scenario)));
        let driver = cgroup_driver();
        let mut table = "engine\tscenario\tcaller\tdriver\tresult\tseconds\twhy\n".to_owned();
        for row in &rows {
            let (word, why) = match &row.end {
                End::Passed => ("passed", ""),
                End::Failed(message) => ("failed", message.as_str()),
                End::NotRun(why) => ("not run", why.as_str()),
            };
            let (seconds, why) = (row.time.as_secs_f64(), why.replace(['\t', '\n'], " "));
            let (engine, scenario, who) = (row.engine, &row.scenario, row.who);
            writeln!(table, "{engine}\t{scenario}\t{who}\t{driver}\t{word}\t{seconds:.2}\t{why}").unwrap();
        }
        let whole = || {
            let path = format!("{}/target/engines-{driver}.tsv", env!("CARGO_MANIFEST_DIR"));
            self.filters.is_empty().then_some(path)
        };
        if let Some(path) = std::env::var("ENGINES_TABLE").ok().or_else(whole) {
            std::fs::write(path, table).unwrap();
        }
        let count = |like: fn(&End) -> bool| rows.iter().filter(|row| like(&row.end)).count();
        let failed = count(|end| matches!(end, End::Failed(_)));
        println!(
            "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; 0 filtered out\n",
            if failed == 0 { "ok" } else { "FAILED" },
            count(|end| *end == End::Passed),
            count(|end| matches!(end, End::NotRun(_))),
        );
        failed == 0
    }
}
