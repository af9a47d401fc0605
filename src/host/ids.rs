//! Ranges of user or group ids.

use std::fmt;

/// Ids of the host, `count` of them from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub start: u32,
    /// How many; at least one, and none of them is `u32::MAX`, which is no id (user_namespaces(7)).
    pub count: u32,
}

impl Range {
    /// The range that two numbers name, where there is one.
    pub fn parse(start: &str, count: &str) -> Option<Self> {
        let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
        (count > 0 && start.checked_add(count).is_some()).then_some(Self { start, count })
    }

    /// What [`fmt::Display`] wrote, as claims and records have it.
    pub fn from_text(text: &str) -> Option<Self> {
        text.split_once('+').and_then(|(start, count)| Self::parse(start, count))
    }

    /// The last id.
    pub fn last(self) -> u32 {
        self.start + (self.count - 1)
    }

    /// The id behind the last one.
    pub fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.count)
    }

    /// Whether an id is one of them.
    pub fn holds(self, id: u32) -> bool {
        id >= self.start && id - self.start < self.count
    }

    /// Whether an id is one of both.
    pub fn overlaps(self, other: Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.count)
    }
}
