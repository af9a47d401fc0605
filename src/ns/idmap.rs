//! Id maps as values: which id outside stands for which id inside.

use crate::spec::IdMap;

/// How ids of the container appear to the process that assembles it. Where that process lives in the same user
/// namespace as the container (no user namespace of its own, or rootless with an identity map) it is the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The same ids inside and outside.
    Same,
    /// Ids go through these maps.
    Mapped {
        /// uid lines
        uids: Vec<IdMap>,
        /// gid lines
        gids: Vec<IdMap>,
    },
}

impl Outside {
    /// The outside uid of a container uid; none where it is unmapped.
    pub fn uid(&self, uid: u32) -> Option<u32> {
        match self {
            Self::Same => Some(uid),
            Self::Mapped { uids, .. } => outside(uids, uid),
        }
    }

    /// The outside gid of a container gid; none where it is unmapped.
    pub fn gid(&self, gid: u32) -> Option<u32> {
        match self {
            Self::Same => Some(gid),
            Self::Mapped { gids, .. } => outside(gids, gid),
        }
    }

    /// The uids that the container has, for a sentence: `0 to 65535`.
    pub fn uids(&self) -> String {
        match self {
            Self::Same => "all".to_owned(),
            Self::Mapped { uids, .. } => inside(uids),
        }
    }

    /// The gids that the container has, as [`Outside::uids`].
    pub fn gids(&self) -> String {
        match self {
            Self::Same => "all".to_owned(),
            Self::Mapped { gids, .. } => inside(gids),
        }
    }
}

fn inside(lines: &[IdMap]) -> String {
    let mut ends: Vec<(u32, u32)> =
        lines.iter().map(|line| (line.container, line.container.saturating_add(line.size - 1))).collect();
    ends.sort_unstable();
    ends.dedup_by(|next, range| {
        let adjoins = range.1.checked_add(1) == Some(next.0);
        if adjoins {
            range.1 = next.1;
        }
        adjoins
    });
    let words = ends.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn outside(lines: &[IdMap], id: u32) -> Option<u32> {
    let line = lines.iter().find(|line| id >= line.container && id - line.container < line.size)?;
    line.host.checked_add(id - line.container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_through_the_line_that_holds_them() {
        let lines = vec![
            IdMap { container: 0, host: 1000, size: 1 },
            IdMap { container: 1, host: 100_000, size: 65_535 },
        ];
        let outside = Outside::Mapped { uids: lines.clone(), gids: lines };
        assert_eq!(outside.uid(0), Some(1000));
        assert_eq!(outside.gid(65_535), Some(165_534));
        assert_eq!(outside.uid(65_536), None);
        assert_eq!(Outside::Same.uid(7), Some(7));
        assert_eq!(outside.uids(), "0 to 65535");
        let apart = [(7, 1), (0, 2), (10, 5)].map(|(container, size)| IdMap { container, host: 0, size });
        assert_eq!(Outside::Mapped { uids: apart.into(), gids: vec![] }.uids(), "0 to 1, 7, 10 to 14");
    }
}
