//! `--userns` and the annotation `io.urun.userns`: whose ids a container gets, whatever its config.json says. Pure.

use super::{
    plan::Maps,
    subid::{RANGE, Range},
};
use crate::{
    bail,
    error::{Context, Error, Result},
    spec::IdMap,
};
use std::{fmt, str::FromStr};

/// Annotation that chooses like the flag `--userns`.
pub const ANNOTATION: &str = "io.urun.userns";

/// Whose ids a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its own, which no other container of this host has.
    Auto(Auto),
    /// The caller's, under the caller's own number.
    KeepId(KeepId),
    /// The host's: no user namespace.
    Host,
    /// These.
    Map(Maps),
}

/// `auto[:size=N,uidmapping=C:H:N,gidmapping=C:H:N]`, the words of podman-run(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auto {
    /// How many ids, from 0 on inside.
    pub size: u32,
    /// Ids that are mapped as given instead of into the range.
    pub given: Maps,
}

/// `keep-id[:uid=N,gid=N]`, the words of podman-run(1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepId {
    /// What the caller's uid is inside, where not the same.
    pub uid: Option<u32>,
    /// What the caller's gid is inside.
    pub gid: Option<u32>,
}

const FORMS: &str =
    "auto, auto:size=N, keep-id, host, or a map of lines INSIDE:HOST:COUNT with commas between them";

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (word, options) = match text.split_once(':') {
            Some((word, options)) if matches!(word, "auto" | "keep-id") => (word, Some(options)),
            _ => (text, None),
        };
        let mut options = options.into_iter().flat_map(|options| options.split(','));
        match word {
            "auto" => options.try_fold(Auto::default(), Auto::with).and_then(Auto::checked).map(Self::Auto),
            "keep-id" => options.try_fold(KeepId::default(), KeepId::with).map(Self::KeepId),
            "host" => Ok(Self::Host),
            map if map.contains(':') => maps(map).map(Self::Map),
            _ => Err(Error::new(format_args!("expected {FORMS}, found {text:?}"))),
        }
        .with_context(|| format!("userns {text}"))
    }
}

impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |name, &IdMap { container, host, size }: &IdMap| format!("{name}={container}:{host}:{size}");
        let size = (self.size != RANGE).then(|| format!("size={}", self.size));
        let uids = self.given.uids.iter().map(|ids| line("uidmapping", ids));
        let gids = self.given.gids.iter().map(|ids| line("gidmapping", ids));
        let options: Vec<String> = size.into_iter().chain(uids).chain(gids).collect();
        match options.is_empty() {
            true => f.write_str("auto"),
            false => write!(f, "auto:{}", options.join(",")),
        }
    }
}

impl Default for Auto {
    fn default() -> Self {
        Self { size: RANGE, given: Maps::default() }
    }
}

impl Auto {
    fn with(mut self, option: &str) -> Result<Self> {
        match option.split_once('=') {
            Some(("size", size)) => self.size = number(size)?,
            Some(("uidmapping", text)) => self.given.uids.push(line(text)?),
            Some(("gidmapping", text)) => self.given.gids.push(line(text)?),
            _ => bail!(
                "auto takes size=N, uidmapping=INSIDE:HOST:COUNT and gidmapping=INSIDE:HOST:COUNT, not {option:?}"
            ),
        }
        Ok(self)
    }

    fn checked(self) -> Result<Self> {
        if self.size == 0 {
            bail!("a range of no ids");
        }
        check(&self.given.uids).and_then(|()| check(&self.given.gids)).map(|()| self)
    }

    /// The maps of a container that has `range` for its own.
    ///
    /// # Errors
    /// An id of the host is in the range and among the given lines.
    pub fn maps(&self, range: Range) -> Result<Maps> {
        let fill = |given: &[IdMap]| {
            let mut lines = given.to_vec();
            let mut ahead: Vec<IdMap> = given.to_vec();
            ahead.sort_by_key(|line| line.container);
            let mut next = 0u32;
            let end = IdMap { container: self.size, host: 0, size: 1 };
            for line in ahead.iter().chain([&end]) {
                let stop = line.container.min(self.size);
                if next < stop {
                    lines.push(IdMap { container: next, host: range.start + next, size: stop - next });
                }
                next = next.max(line.container.saturating_add(line.size));
            }
            lines.sort_by_key(|line| line.container);
            check(&lines).map(|()| lines)
        };
        Ok(Maps { uids: fill(&self.given.uids)?, gids: fill(&self.given.gids)? })
    }
}

impl KeepId {
    fn with(mut self, option: &str) -> Result<Self> {
        match option.split_once('=') {
            Some(("uid", uid)) => self.uid = Some(number(uid)?),
            Some(("gid", gid)) => self.gid = Some(number(gid)?),
            _ => bail!("keep-id takes uid=N and gid=N, not {option:?}"),
        }
        Ok(self)
    }

    /// The maps of a caller with these ids and subordinate ranges: the own id under the number that was asked for, the
    /// subordinate ids below and above it without a gap.
    pub fn maps(self, (uid, gid): (u32, u32), (uids, gids): (&[Range], &[Range])) -> Maps {
        Maps { uids: keep(uid, self.uid, uids), gids: keep(gid, self.gid, gids) }
    }
}

fn keep(own: u32, inside: Option<u32>, ranges: &[Range]) -> Vec<IdMap> {
    let inside = inside.unwrap_or(own);
    let mut lines = vec![IdMap { container: inside, host: own, size: 1 }];
    let mut next = 0u32;
    for range in ranges.iter().filter(|range| !range.holds(own)) {
        let (mut start, mut left) = (range.start, range.count);
        while left > 0 {
            if next == inside {
                next = next.saturating_add(1);
            }
            let room = if next < inside { inside - next } else { u32::MAX - next };
            let size = left.min(room);
            if size == 0 {
                break;
            }
            lines.push(IdMap { container: next, host: start, size });
            (start, left, next) = (start + size, left - size, next + size);
        }
    }
    lines.sort_by_key(|line| line.container);
    lines
}

/// Lines for both lists, or for one where a line begins with `u` or `g`.
fn maps(text: &str) -> Result<Maps> {
    let mut maps = Maps::default();
    for word in text.split(',') {
        let (for_uids, for_gids, rest) = match (word.strip_prefix('u'), word.strip_prefix('g')) {
            (Some(rest), _) => (true, false, rest),
            (_, Some(rest)) => (false, true, rest),
            _ => (true, true, word),
        };
        let line = line(rest)?;
        maps.uids.extend(for_uids.then_some(line));
        maps.gids.extend(for_gids.then_some(line));
    }
    if maps.uids.is_empty() || maps.gids.is_empty() {
        bail!("a map needs lines for uids and for gids");
    }
    check(&maps.uids).and_then(|()| check(&maps.gids)).map(|()| maps)
}

fn line(text: &str) -> Result<IdMap> {
    let mut words = text.split(':').map(number);
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(container), Some(host), Some(size), None) => {
            let line = IdMap { container: container?, host: host?, size: size? };
            let fits = |first: u32| first.checked_add(line.size).is_some();
            match line.size > 0 && fits(line.container) && fits(line.host) {
                true => Ok(line),
                false => bail!("{text:?} maps no ids or goes beyond the last one, 4294967294"),
            }
        }
        _ => bail!("expected INSIDE:HOST:COUNT, found {text:?}"),
    }
}

/// What the kernel refuses of a map as a whole, user_namespaces(7).
fn check(lines: &[IdMap]) -> Result<()> {
    for (side, first) in
        [("inside", (|line| line.container) as fn(&IdMap) -> u32), ("of the host", |line| line.host)]
    {
        let mut ranges: Vec<_> = lines.iter().map(|line| (first(line), line.size)).collect();
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 - pair[0].0 < pair[0].1) {
            bail!("id {} {side} is mapped twice", pair[1].0);
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<u32> {
    // A sign or a space is not part of a number here, though `parse` takes a plus.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Error::new(format_args!("expected a number, found {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container: u32, host: u32, size: u32) -> IdMap {
        IdMap { container, host, size }
    }

    fn auto(text: &str) -> Auto {
        match text.parse().unwrap() {
            Choice::Auto(auto) => auto,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(auto("auto"), Auto::default());
        assert_eq!(auto("auto:size=1000").size, 1000);
        for text in ["auto", "auto:size=1000", "auto:size=5,uidmapping=0:1:2,gidmapping=3:4:5"] {
            assert_eq!(auto(text).to_string(), text);
        }
        assert_eq!("host".parse::<Choice>().unwrap(), Choice::Host);
        assert_eq!("keep-id".parse::<Choice>().unwrap(), Choice::KeepId(KeepId::default()));
        let keep = Choice::KeepId(KeepId { uid: Some(7), gid: Some(8) });
        assert_eq!("keep-id:uid=7,gid=8".parse::<Choice>().unwrap(), keep);
        let both = Maps { uids: vec![map(0, 100_000, 65_536)], gids: vec![map(0, 100_000, 65_536)] };
        assert_eq!("0:100000:65536".parse::<Choice>().unwrap(), Choice::Map(both));
        let apart = Maps { uids: vec![map(0, 5, 1), map(1, 9, 2)], gids: vec![map(0, 6, 1), map(1, 9, 2)] };
        assert_eq!("u0:5:1,g0:6:1,1:9:2".parse::<Choice>().unwrap(), Choice::Map(apart));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, cause) in [
            ("", "expected auto"),
            ("nomap", "expected auto"),
            ("auto:", "auto takes size=N"),
            ("auto:size=0", "a range of no ids"),
            ("auto:size=+5", "expected a number"),
            ("auto:size=4294967296", "expected a number"),
            ("auto:users=2", "auto takes size=N"),
            ("auto:uidmapping=0:0", "expected INSIDE:HOST:COUNT"),
            ("keep-id:size=4", "keep-id takes uid=N"),
            ("0:100000:0", "maps no ids"),
            ("0:4294967290:10", "beyond the last one"),
            ("0:1:5,3:9:1", "id 3 inside is mapped twice"),
            ("0:1:5,9:5:1", "id 5 of the host is mapped twice"),
            ("u0:1:5", "for uids and for gids"),
            ("0:1:5:7", "expected INSIDE:HOST:COUNT"),
        ] {
            let error = text.parse::<Choice>().unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn given_lines_take_the_place_of_the_range() {
        let range = Range { start: 131_072, count: 65_536 };
        let whole = vec![map(0, 131_072, 65_536)];
        assert_eq!(auto("auto").maps(range).unwrap(), Maps { uids: whole.clone(), gids: whole.clone() });
        let maps = auto("auto:uidmapping=1000:1000:1").maps(range).unwrap();
        assert_eq!(maps.uids, [map(0, 131_072, 1000), map(1000, 1000, 1), map(1001, 132_073, 64_535)]);
        assert_eq!(maps.gids, whole);
        let maps = auto("auto:size=10,uidmapping=0:7:1,gidmapping=70000:8:2").maps(range).unwrap();
        assert_eq!(maps.uids, [map(0, 7, 1), map(1, 131_073, 9)]);
        assert_eq!(maps.gids, [map(0, 131_072, 10), map(70_000, 8, 2)]);
        let error = auto("auto:uidmapping=70000:131080:1").maps(range).unwrap_err().to_string();
        assert!(error.contains("id 131080 of the host is mapped twice"), "{error}");
    }

    #[test]
    fn the_caller_keeps_its_number() {
        let ranges = [Range { start: 100_000, count: 65_536 }, Range { start: 400_000, count: 5 }];
        let keep = |choice: KeepId| choice.maps((1000, 100), (&ranges, &ranges[..1]));
        let maps = keep(KeepId::default());
        assert_eq!(
            maps.uids,
            [map(0, 100_000, 1000), map(1000, 1000, 1), map(1001, 101_000, 64_536), map(65_537, 400_000, 5)]
        );
        assert_eq!(maps.gids, [map(0, 100_000, 100), map(100, 100, 1), map(101, 100_100, 65_436)]);
        let maps = keep(KeepId { uid: Some(0), gid: Some(90_000) });
        assert_eq!(maps.uids, [map(0, 1000, 1), map(1, 100_000, 65_536), map(65_537, 400_000, 5)]);
        assert_eq!(maps.gids, [map(0, 100_000, 65_536), map(90_000, 100, 1)]);
        assert_eq!(
            KeepId::default().maps((5, 5), (&[], &[])),
            Maps { uids: vec![map(5, 5, 1)], gids: vec![map(5, 5, 1)] }
        );
    }
}
