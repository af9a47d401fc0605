//! Ranges of ids that only one container has: where they come from, and how they go back.

use crate::{
    cli::request::{DEFAULT_ROOT, is_real_root},
    error::{Error, Result},
    host::{caller::Caller, passwd},
    ns::{
        plan::Maps,
        subid::{self, RANGE, Range, UNCLAIMED},
    },
    spec::IdMap,
    state::{Claims, Entry, Holder, Init, Record, Store},
    sys::proc::Proc,
};
use std::path::Path;

/// Owners of subordinate ids whose ranges are for containers, before the caller's own. Only urun gives away the first one's;
/// Podman takes from the other too (containers-storage.conf(5), `auto-userns-max-size`).
const OWNERS: [&str; 2] = ["urun", "containers"];

/// Ids to choose from.
#[derive(Debug)]
pub struct Pool {
    /// Whose they are, for errors.
    whose: String,
    ranges: Vec<Range>,
    /// What others use of it, whether they run or not.
    taken: Vec<Range>,
}

/// A range of `size` ids that nobody else has, claimed for this process.
pub fn claim(pool: &Pool, size: u32, proc: &Proc, state_root: &Path) -> Result<Range> {
    let mut store = store(state_root)?;
    let claims = Claims::open(&mut store)?;
    let range = match pool.fit(&claims, size)? {
        // Crashes may have left claims behind.
        None if !claims.release_stale()?.is_empty() => pool.fit(&claims, size)?,
        other => other,
    };
    let range = range.ok_or_else(|| pool.exhausted(size))?;
    claims.take(range, &myself(proc)?)?;
    Ok(range)
}

/// Hands a claimed range to the container that is being made.
pub fn assign(range: Range, entry: &Entry) -> Result<()> {
    Claims::open(&mut store(root(entry))?)?.hand_over(range, &holder(entry))
}

/// Gives back what was claimed for a container that never came into being.
pub fn abandon(range: Range, state_root: &Path) -> Result<()> {
    Claims::open(&mut store(state_root)?)?.release(range, &myself(&Proc::open()?)?)
}

/// Gives back the range of a container whose processes are gone.
pub fn release(record: &Record, entry: &Entry) -> Result<()> {
    match record.id_range {
        Some(range) => Claims::open(&mut store(root(entry))?)?.release(range, &holder(entry)),
        None => Ok(()),
    }
}

/// Gives back what belongs to nobody any more.
pub fn release_stale(state_root: &Path) -> Result<Vec<(Range, Holder)>> {
    Claims::open(&mut store(state_root)?)?.release_stale()
}

/// Maps for a config.json: a range that nobody has, neither by /etc/subuid and /etc/subgid nor by a container that runs. Nothing
/// reserves it: two files written one after the other get the same range until a container of the first runs.
pub fn unclaimed(proc: &Proc, state_root: &Path) -> Result<Maps> {
    let pool = Pool::unclaimed(vec![UNCLAIMED], proc)?;
    let claims = Claims::open(&mut store(state_root)?)?;
    let range = pool.fit(&claims, RANGE)?.ok_or_else(|| pool.exhausted(RANGE))?;
    let line = vec![IdMap { container: 0, host: range.start, size: range.count }];
    Ok(Maps { uids: line.clone(), gids: line })
}

/// Where claims are kept. Those of real root are in one place, whatever state root its engines choose: ids are the host's.
fn store(state_root: &Path) -> Result<Store> {
    Store::open(if is_real_root() { Path::new(DEFAULT_ROOT) } else { state_root })
}

fn root(entry: &Entry) -> &Path {
    entry.path().parent().unwrap_or(Path::new("/"))
}

fn holder(entry: &Entry) -> Holder {
    Holder::container(root(entry), entry.id())
}

fn myself(proc: &Proc) -> Result<Holder> {
    let own = Init::identify(proc, std::process::id().cast_signed())?;
    // The one number that a claim has is that of /proc: all it is asked is whether the process lives.
    Ok(Holder::Process(Init { pid: own.number, ..own }))
}

impl Pool {
    /// The subordinate ids of the first owner who has any.
    pub fn subordinate(caller: &Caller, proc: &Proc) -> Result<Option<Self>> {
        let (uids, gids) = (subid::read("/etc/subuid")?, subid::read("/etc/subgid")?);
        let name = passwd::name_of(caller.euid)?;
        let owners =
            OWNERS.map(|owner| (owner, None)).into_iter().chain([(name.as_str(), Some(caller.euid))]);
        for (owner, uid) in owners {
            let of = |text| subid::ranges_of(text, owner, uid);
            let ranges = subid::common(&of(&uids), &of(&gids));
            if ranges.is_empty() {
                continue;
            }
            let taken = if owner == OWNERS[0] { Vec::new() } else { in_use(proc)? };
            return Ok(Some(Self { whose: whose(owner), ranges: within(&ranges, caller, proc)?, taken }));
        }
        Ok(None)
    }

    /// The subordinate ids of an ordinary caller. Other programs of the same user map all of them at once (rootless Podman
    /// does), so that nobody else's use says anything.
    pub fn own(caller: &Caller) -> Result<Self> {
        let name = passwd::name_of(caller.euid)?;
        let of = |path| Ok::<_, Error>(subid::ranges_of(&subid::read(path)?, &name, Some(caller.euid)));
        let ranges = subid::common(&of("/etc/subuid")?, &of("/etc/subgid")?);
        Ok(Self { whose: whose(&name), ranges, taken: Vec::new() })
    }

    /// What nobody has, for a caller who is root.
    pub fn rest(caller: &Caller, proc: &Proc) -> Result<Self> {
        match caller.initial {
            true => Self::unclaimed(vec![UNCLAIMED], proc),
            false => Self::unclaimed(within(&[Range { start: 0, count: u32::MAX }], caller, proc)?, proc),
        }
    }

    /// Those of `ranges` that the files give to nobody.
    fn unclaimed(ranges: Vec<Range>, proc: &Proc) -> Result<Self> {
        let mut taken = in_use(proc)?;
        for path in ["/etc/subuid", "/etc/subgid"] {
            taken.extend(subid::all_ranges(&subid::read(path)?));
        }
        Ok(Self { whose: "those that /etc/subuid and /etc/subgid give to nobody".to_owned(), ranges, taken })
    }

    /// Whether there is not one id.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn fit(&self, claims: &Claims, size: u32) -> Result<Option<Range>> {
        let mut taken = self.taken.clone();
        taken.extend(claims.ranges()?);
        Ok(subid::fit(&self.ranges, &taken, size))
    }

    fn exhausted(&self, size: u32) -> Error {
        Error::new(format_args!("no {size} ids in a row are free among {}", self.whose)).hint(
            "ask for less with auto:size=N, delete containers that are stopped, or give urun more: lines \
             urun:START:COUNT in /etc/subuid and /etc/subgid",
        )
    }
}

fn whose(owner: &str) -> String {
    format!("those that /etc/subuid and /etc/subgid give to {owner}")
}

/// Those of `ranges` that the caller's user namespace has.
fn within(ranges: &[Range], caller: &Caller, proc: &Proc) -> Result<Vec<Range>> {
    if caller.initial {
        return Ok(ranges.to_vec());
    }
    let own = proc.own()?;
    let mut ranges = ranges.to_vec();
    for file in ["uid_map", "gid_map"] {
        ranges = subid::common(&ranges, &subid::inside_map(&proc.read_text(&format!("{own}/{file}"))?));
    }
    Ok(ranges)
}

/// The ids that user namespaces use in which somebody lives, whoever made them.
fn in_use(proc: &Proc) -> Result<Vec<Range>> {
    let own = proc.own()?;
    let mut seen =
        vec![proc.read_text(&format!("{own}/uid_map"))?, proc.read_text(&format!("{own}/gid_map"))?];
    let mut ranges = Vec::new();
    for process in proc.processes()? {
        for file in ["uid_map", "gid_map"] {
            // It may have ended since.
            let Ok(map) = proc.read_text(&format!("{process}/{file}")) else { continue };
            if !seen.contains(&map) {
                ranges.extend(subid::used_by_map(&map));
                seen.push(map);
            }
        }
    }
    Ok(ranges)
}
