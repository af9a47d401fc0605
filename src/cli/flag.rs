//! One flag of the command line: its names, what it takes, and its line of the help text.

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its long name.
    pub name: &'static str,
    /// Its letters, the one to show first.
    pub letters: &'static str,
    /// Its value.
    pub takes: Takes,
    /// One line; none for a flag that is accepted and not shown.
    pub help: &'static str,
}

/// What a flag takes; words are names for the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=` and a word of Go's strconv.ParseBool.
    Switch,
    /// A path, which is not empty.
    Path(&'static str),
    /// Any bytes.
    Bytes(&'static str),
    /// UTF-8.
    Text(&'static str),
    /// One of these.
    Word(&'static str, &'static [&'static str]),
    /// 0 to 4294967295.
    Number(&'static str),
    /// A whole number.
    Integer(&'static str),
    /// A number of bytes, perhaps with a unit.
    Size(&'static str),
    /// A span of time.
    Time(&'static str),
}

impl Takes {
    /// What the help text calls the value; nothing of a switch.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Switch => None,
            Self::Path(name)
            | Self::Bytes(name)
            | Self::Text(name)
            | Self::Word(name, _)
            | Self::Number(name)
            | Self::Integer(name)
            | Self::Size(name)
            | Self::Time(name) => Some(name),
        }
    }
}

/// A flag.
pub const fn flag(name: &'static str, letters: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { name, letters, takes, help }
}

/// A flag that takes nothing.
pub const fn switch(name: &'static str, letters: &'static str, help: &'static str) -> Flag {
    flag(name, letters, Takes::Switch, help)
}

/// A flag that takes a path.
pub const fn path(
    name: &'static str,
    letters: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    flag(name, letters, Takes::Path(value), help)
}

/// A flag that takes any bytes.
pub const fn bytes(
    name: &'static str,
    letters: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    flag(name, letters, Takes::Bytes(value), help)
}

/// A flag that takes UTF-8.
pub const fn text(
    name: &'static str,
    letters: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    flag(name, letters, Takes::Text(value), help)
}

/// A flag that takes a number.
pub const fn number(
    name: &'static str,
    letters: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    flag(name, letters, Takes::Number(value), help)
}

/// A flag that takes one of `words`.
pub const fn one_of(
    name: &'static str,
    letters: &'static str,
    value: &'static str,
    words: &'static [&'static str],
    help: &'static str,
) -> Flag {
    flag(name, letters, Takes::Word(value, words), help)
}
