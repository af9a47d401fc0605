//! A place in a JSON document that knows its path and reports what is wrong with it.

use super::tree::Tree;
use crate::error::{Error, Result};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{self, Display, Write as _},
    ops::RangeInclusive,
    path::PathBuf,
};

/// How much text of errors (and, apart from them, of warnings) is kept; the rest is counted.
const CAPACITY: usize = 6 * 1024;
/// How many characters of a value or a property name a message quotes.
const QUOTED: usize = 64;

static ABSENT: Tree<'static> = Tree::Null;

/// Everything that was found wrong in one document.
#[derive(Debug, Default)]
pub struct Report {
    errors: RefCell<Messages>,
    warnings: RefCell<Messages>,
}

impl Report {
    /// One error out of all that were reported.
    pub fn check(&self) -> Result<()> {
        let errors = self.errors.borrow();
        if errors.lines.is_empty() { Ok(()) } else { Err(Error::new(errors.lines().join("; "))) }
    }

    /// The warnings.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().lines()
    }
}

#[derive(Debug, Default)]
struct Messages {
    lines: Vec<String>,
    bytes: usize,
    left_out: usize,
}

impl Messages {
    /// The text is built only where there is room for it, so that a flood of errors costs a count each.
    fn push(&mut self, line: impl FnOnce() -> String) {
        if self.bytes >= CAPACITY {
            self.left_out += 1;
            return;
        }
        let line = line();
        self.bytes += line.len();
        self.lines.push(line);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        if self.left_out > 0 {
            lines.push(format!("… and {} more", self.left_out));
        }
        lines
    }
}

/// A value of the document with the way that leads to it. A null value is the same as an absent one.
#[derive(Clone, Copy, Debug)]
pub struct Node<'n> {
    tree: &'n Tree<'n>,
    parent: Option<&'n Node<'n>>,
    step: Step<'n>,
    report: &'n Report,
}

#[derive(Clone, Copy, Debug)]
enum Step<'n> {
    Root,
    Key(&'n str),
    Index(usize),
}

impl<'n> Node<'n> {
    /// The whole document.
    pub fn root(tree: &'n Tree<'n>, report: &'n Report) -> Self {
        Self { tree, parent: None, step: Step::Root, report }
    }

    /// Whether there is a value.
    pub fn is_given(&self) -> bool {
        *self.tree != Tree::Null
    }

    /// A property; absent where this value is no object.
    pub fn get<'s>(&'s self, key: &'s str) -> Node<'s> {
        let tree = self.tree.get(key).unwrap_or(&ABSENT);
        Node { tree, parent: Some(self), step: Step::Key(key), report: self.report }
    }

    /// This value, reported where it is absent.
    #[must_use]
    pub fn required(self) -> Self {
        if !self.is_given() {
            self.error("is required");
        }
        self
    }

    /// This value where it is an object; reported where it is neither that nor absent.
    pub fn object(self) -> Option<Self> {
        match self.tree {
            Tree::Object(_) => Some(self),
            Tree::Null => None,
            _ => self.wrong("an object"),
        }
    }

    /// The elements of an array; none where it is absent.
    pub fn list<'s>(&'s self) -> impl ExactSizeIterator<Item = Node<'s>> + use<'s, 'n> {
        let items: &[Tree<'_>] = match self.tree {
            Tree::List(items) => items,
            Tree::Null => &[],
            _ => self.wrong("a list").unwrap_or(&[]),
        };
        items.iter().enumerate().map(move |(index, tree)| Node {
            tree,
            parent: Some(self),
            step: Step::Index(index),
            report: self.report,
        })
    }

    /// One element of an array; absent where there is none.
    pub fn at(&self, index: usize) -> Node<'_> {
        let tree = match self.tree {
            Tree::List(items) => items.get(index).unwrap_or(&ABSENT),
            _ => &ABSENT,
        };
        Node { tree, parent: Some(self), step: Step::Index(index), report: self.report }
    }

    /// The properties of an object whose names are data, sorted, those that are null left out.
    pub fn entries<'s>(&'s self) -> impl Iterator<Item = (&'s str, Node<'s>)> + use<'s, 'n> {
        let members: BTreeMap<&str, &Tree<'_>> = match self.tree {
            Tree::Object(members) => members.iter().map(|(key, tree)| (key.as_ref(), tree)).collect(),
            Tree::Null => BTreeMap::new(),
            _ => self.wrong("an object").unwrap_or_default(),
        };
        members.into_iter().filter(|(_, tree)| **tree != Tree::Null).map(move |(key, tree)| {
            let node = Node { tree, parent: Some(self), step: Step::Key(key), report: self.report };
            if key.contains('\0') {
                node.error("its name holds a NUL");
            }
            (key, node)
        })
    }

    /// A string, free of NUL.
    pub fn text(&self) -> Option<&'n str> {
        match self.tree {
            Tree::Text(text) if text.contains('\0') => {
                self.error(format_args!("{} holds a NUL", quoted(text)));
                None
            }
            Tree::Text(text) => Some(text),
            Tree::Null => None,
            _ => self.wrong("a string"),
        }
    }

    /// A string; an empty one counts as absent, as Go's `omitempty` makes it.
    pub fn filled(&self) -> Option<&'n str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// A string as its owner; an empty one counts as absent.
    pub fn owned(&self) -> Option<String> {
        self.filled().map(str::to_owned)
    }

    /// An absolute path; an empty one counts as absent.
    pub fn absolute(&self) -> Option<PathBuf> {
        let text = self.filled()?;
        if !text.starts_with('/') {
            return self.wrong("an absolute path");
        }
        Some(PathBuf::from(text))
    }

    /// All strings of an array; elements must not be absent.
    pub fn texts(&self) -> Vec<String> {
        self.list().filter_map(|item| item.required().text().map(str::to_owned)).collect()
    }

    /// A boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self.tree {
            Tree::Bool(value) => Some(*value),
            Tree::Null => None,
            _ => self.wrong("true or false"),
        }
    }

    /// A boolean; absent is false.
    pub fn is_true(&self) -> bool {
        self.boolean().unwrap_or(false)
    }

    /// An integer within a range.
    pub fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + Into<i128> + TryFrom<i128>,
    {
        let (low, high) = (*range.start(), *range.end());
        let value = match self.tree {
            Tree::Signed(value) => Some(i128::from(*value)),
            Tree::Unsigned(value) => Some(i128::from(*value)),
            Tree::Null => return None,
            _ => None,
        };
        match value
            .filter(|value| (low.into()..=high.into()).contains(value))
            .and_then(|value| T::try_from(value).ok())
        {
            Some(value) => Some(value),
            None => self.wrong(format_args!("a number from {low} to {high}")),
        }
    }

    /// A word out of a table; `what` names its kind: `namespace type`.
    pub fn word<T: Copy>(&self, what: &str, table: &[(&str, T)]) -> Option<T> {
        let word = self.text()?;
        let found = table.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            self.error(format_args!("unknown {what} {}, expected one of {}", quoted(word), known.join(" ")));
        }
        found
    }

    /// Reports that this value is not what is `expected`.
    pub fn wrong<T>(&self, expected: impl Display) -> Option<T> {
        self.error(format_args!("expected {expected}, found {}", Shown(self.tree)));
        None
    }

    /// Reports an error of this value.
    pub fn error(&self, message: impl Display) {
        self.report.errors.borrow_mut().push(|| format!("{}: {message}", self.path()));
    }

    /// Notes something about this value that is no error.
    pub fn warn(&self, message: impl Display) {
        self.report.warnings.borrow_mut().push(|| format!("{}: {message}", self.path()));
    }

    /// Where this value is: `process.user.uid`, `mounts[3]`, `annotations["a.b"]`.
    pub fn path(&self) -> String {
        let mut steps = Vec::new();
        let mut node = Some(self);
        while let Some(at) = node {
            steps.push(at.step);
            node = at.parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            push_step(&mut path, step);
        }
        if path.is_empty() { "the document".to_owned() } else { path }
    }
}

fn push_step(path: &mut String, step: Step<'_>) {
    let is_plain = |key: &str| {
        !key.is_empty()
            && key.len() <= QUOTED
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    // Writing to a string cannot fail.
    let _ = match step {
        Step::Root => Ok(()),
        Step::Index(index) => write!(path, "[{index}]"),
        Step::Key(key) if is_plain(key) && path.is_empty() => write!(path, "{key}"),
        Step::Key(key) if is_plain(key) => write!(path, ".{key}"),
        Step::Key(key) => write!(path, "[{}]", quoted(key)),
    };
}

/// Text in quotes, escaped, and cut where it is long.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A value as an error message shows it.
struct Shown<'n>(&'n Tree<'n>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Tree::Null => f.write_str("nothing"),
            Tree::Bool(value) => value.fmt(f),
            Tree::Signed(value) => value.fmt(f),
            Tree::Unsigned(value) => value.fmt(f),
            Tree::Float(value) => write!(f, "{value:?}"),
            Tree::Text(text) => f.write_str(&quoted(text)),
            Tree::List(_) => f.write_str("a list"),
            Tree::Object(_) => f.write_str("an object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_path() {
        let tree = Tree::parse(br#"{"a":{"b":[1,"x"]},"c":{"d.e":true}}"#).unwrap();
        let report = Report::default();
        let root = Node::root(&tree, &report);
        let _: Vec<_> = root.get("a").get("b").list().map(|item| item.number(5..=9_u32)).collect();
        for (_, node) in root.get("c").entries() {
            node.text();
        }
        root.get("missing").required().text();
        assert_eq!(
            report.check().unwrap_err().to_string(),
            "a.b[0]: expected a number from 5 to 9, found 1; a.b[1]: expected a number from 5 to 9, found \"x\"; \
             c[\"d.e\"]: expected a string, found true; missing: is required"
        );
    }

    #[test]
    fn a_flood_of_errors_is_cut_and_counted() {
        let text = format!("[{}1]", "1,".repeat(9999));
        let tree = Tree::parse(text.as_bytes()).unwrap();
        let report = Report::default();
        assert!(Node::root(&tree, &report).texts().is_empty());
        let error = report.check().unwrap_err().to_string();
        assert!(error.len() < CAPACITY + 1024, "{}", error.len());
        let left_out = 10_000 - report.errors.borrow().lines.len();
        assert!(error.ends_with(&format!("; … and {left_out} more")), "{error}");
    }

    #[test]
    fn long_and_strange_values_are_cut_and_escaped() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(100)), format!("{:?}…", "é".repeat(64)));
    }
}
