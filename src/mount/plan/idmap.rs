//! Id-mapped mounts: whose maps they have.

use super::{Planner, origin};
use crate::{
    error::{Context, Error, Result},
    mount::op::{IdLines, IdMapping},
    ns::idmap::Outside,
    spec::{IdMap, Mount, mount::MountIds},
};

impl Planner<'_> {
    /// What a mount asks for.
    pub(super) fn idmap(&mut self, mount: &Mount) -> Result<Option<IdMapping>> {
        let asked =
            mount.idmap.as_ref().map(|idmap| self.mapping(origin(mount), &idmap.ids, idmap.recursive));
        asked.transpose()
    }

    /// The container's ids on its root file system.
    pub(super) fn root_idmap(&mut self) -> Result<IdMapping> {
        self.mapping("root".into(), &MountIds::Container, false).context("root")
    }

    /// What has the same maps shares a user namespace.
    fn mapping(&mut self, origin: String, ids: &MountIds, recursive: bool) -> Result<IdMapping> {
        let (uids, gids) = match (ids, &self.facts.outside) {
            (MountIds::Own { uids, gids }, _) | (MountIds::Container, Outside::Mapped { uids, gids }) => {
                (uids, gids)
            }
            (MountIds::Container, Outside::Same) if self.facts.container_userns => {
                return Err(Error::new("idmap: the caller is nobody outside the container's user namespace")
                    .hint("id-mapped mounts need real root"));
            }
            (MountIds::Container, Outside::Same) => {
                return Err(Error::new("idmap without mappings, and the container has no user namespace")
                    .hint("give the mount uidMappings and gidMappings"));
            }
        };
        let (uids, gids) = (lines(uids), lines(gids));
        let known = self.idmaps.iter().position(|known| (&known.uids, &known.gids) == (&uids, &gids));
        let lines = known.unwrap_or_else(|| {
            self.idmaps.push(IdLines { origin, uids, gids });
            self.idmaps.len() - 1
        });
        Ok(IdMapping { lines, recursive })
    }
}

/// The lines in the order of the ids inside, so that equal maps are equal texts.
fn lines(maps: &[IdMap]) -> String {
    let mut maps = maps.to_vec();
    maps.sort_by_key(|map| map.container);
    let line = |map: &IdMap| format!("{} {} {}", map.container, map.host, map.size);
    maps.iter().map(line).collect::<Vec<_>>().join("\n")
}
