//! Any choice of ids, with any files of subordinate ids and any maps, gives lines that the kernel takes. Four texts with NUL
//! bytes between them: what `--userns` says, /etc/subuid, the caller's map, a claim.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::{
    host::{ids::Range, mountinfo::Mount},
    ns::{
        choice::Choice,
        subid::{UNCLAIMED, all_ranges, common, fit, for_user, identity, inside_map, ranges_of, used_by_map},
    },
    spec::IdMap,
    state::Holder,
};

/// No id twice, none beyond the last (user_namespaces(7)).
fn check(lines: &[IdMap]) {
    for side in [|line: &IdMap| line.container, |line: &IdMap| line.host] {
        let mut ranges: Vec<(u64, u64)> =
            lines.iter().map(|line| (side(line).into(), line.size.into())).collect();
        ranges.sort_unstable();
        assert!(ranges.iter().all(|(start, size)| *size > 0 && start + size <= 1 << 32), "{lines:?}");
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{lines:?}");
    }
}

fuzz_target!(|text: &str| {
    let mut words = text.split('\0');
    let mut next = || words.next().unwrap_or_default();
    let (choice, file, map, claim) = (next(), next(), next(), next());
    let ranges = ranges_of(file, "ann", Some(1000));
    check(&for_user(1000, &ranges));
    let taken = [all_ranges(file), used_by_map(map)].concat();
    match choice.parse::<Choice>() {
        Ok(Choice::Auto(auto)) => {
            assert_eq!(auto.to_string().parse::<Choice>().unwrap(), Choice::Auto(auto.clone()));
            if let Some(range) = fit(&[UNCLAIMED], &taken, auto.size) {
                assert!(taken.iter().all(|taken| !taken.overlaps(range)), "{range} in {taken:?}");
                if let Ok(maps) = auto.maps(range) {
                    check(&maps.uids);
                    check(&maps.gids);
                }
            }
        }
        Ok(Choice::KeepId(keep)) => drop(keep.maps((1000, 1000), (&ranges, &ranges))),
        Ok(Choice::Map(maps)) => {
            check(&maps.uids);
            check(&maps.gids);
        }
        Ok(Choice::Host) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = (identity(map), inside_map(map), common(&ranges, &taken), Mount::table(map));
    if let Some(range) = Range::from_text(claim) {
        assert_eq!(Range::from_text(&range.to_string()), Some(range));
    }
    if let Ok(holder) = claim.parse::<Holder>() {
        assert_eq!(holder.to_string().parse::<Holder>().unwrap(), holder);
    }
});
