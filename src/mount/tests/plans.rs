//! Plans as text.

use super::{mapped, terminal, usual};
use crate::mount::plan;
use std::path::Path;

#[test]
fn the_usual_container_with_a_user_namespace() {
    let plan = plan(&usual(Path::new("rootfs")), &terminal(), &mapped()).unwrap();
    assert!(plan.to_string().contains("gid=100005 chown=100000:100000"));
}
