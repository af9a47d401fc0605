//! Which errnos a system call can give to a caller who has made no mistake, by the ERRORS sections of the manual pages: want
//! of memory, descriptors or room, a limit, a refusal by a filter or a security module, an interruption, a kernel without it.
//!
//! Left out are calls that cannot fail (getpid, umask, sigprocmask with valid sets), those whose failure is the allocator's
//! to answer, with an end like a kill (mmap, brk), and close(2), which has closed whatever it says. So is EPERM for
//! a new sysfs or procfs, and for the child that mounts the latter: to a user namespace that is the kernel's answer, and the
//! plan names what is mounted in their place.

use libc::{
    EACCES, EAGAIN, EBUSY, ECONNREFUSED, EINTR, EINVAL, EIO, EMFILE, ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS,
    EPERM,
};

/// The errnos of a system call by its number.
#[allow(clippy::match_same_arms, clippy::too_many_lines)] // a table in the order of what the calls are about
pub fn of(number: i64) -> &'static [i32] {
    match number {
        libc::SYS_openat => &[EINTR, EMFILE, ENOMEM, EACCES],
        libc::SYS_openat2 => &[EAGAIN, EMFILE, ENOMEM, ENOSYS],
        libc::SYS_open_tree => &[EMFILE, ENOMEM, EPERM, ENOSYS],
        libc::SYS_fsopen | libc::SYS_fsmount => &[EMFILE, ENOMEM, ENOSYS],
        libc::SYS_fsconfig => &[ENOMEM, EBUSY, EINVAL],
        libc::SYS_move_mount | libc::SYS_mount_setattr => &[ENOMEM, EPERM, EINVAL, ENOSYS],
        libc::SYS_mount | libc::SYS_umount2 | libc::SYS_pivot_root => &[ENOMEM, EPERM, EBUSY, EINVAL],
        libc::SYS_chdir | libc::SYS_fchdir | libc::SYS_chroot => &[ENOMEM, EACCES, EIO],
        libc::SYS_mkdir | libc::SYS_mkdirat | libc::SYS_mknodat | libc::SYS_symlinkat => {
            &[ENOSPC, ENOMEM, EPERM]
        }
        libc::SYS_rmdir | libc::SYS_unlinkat | libc::SYS_renameat | libc::SYS_renameat2 => {
            &[EIO, ENOMEM, EPERM, ENOSPC]
        }
        libc::SYS_fchmod | libc::SYS_fchmodat | libc::SYS_fchown | libc::SYS_fchownat => &[EIO, EPERM],
        libc::SYS_read | libc::SYS_pread64 => &[EINTR, EIO, ENOMEM],
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => &[EINTR, EIO, ENOSPC, EPERM],
        libc::SYS_fstat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_fstatfs
        | libc::SYS_faccessat
        | libc::SYS_faccessat2 => &[ENOMEM, EIO],
        libc::SYS_readlink | libc::SYS_readlinkat | libc::SYS_getdents64 => &[ENOMEM, EIO, EACCES],
        libc::SYS_socket | libc::SYS_socketpair => &[EMFILE, ENOMEM, EPERM],
        libc::SYS_bind | libc::SYS_listen => &[ENOMEM, ENOSPC, EACCES],
        libc::SYS_connect => &[EINTR, EAGAIN, ECONNREFUSED, EACCES],
        libc::SYS_accept | libc::SYS_accept4 => &[EINTR, EMFILE, ENOMEM, EPERM],
        libc::SYS_sendmsg | libc::SYS_sendto => &[EINTR, ENOMEM, EPERM],
        libc::SYS_recvmsg | libc::SYS_recvfrom => &[EINTR, ENOMEM],
        libc::SYS_clone => &[EAGAIN, ENOMEM, ENOSPC],
        libc::SYS_clone3 => &[EAGAIN, ENOMEM, EPERM, ENOSPC, ENOSYS],
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_poll | libc::SYS_ppoll => &[EINTR],
        libc::SYS_pidfd_open => &[EMFILE, ENOMEM, ENOSYS],
        libc::SYS_kill | libc::SYS_pidfd_send_signal => &[EPERM, ENOSYS],
        libc::SYS_setns | libc::SYS_unshare => &[ENOMEM, EPERM, ENOSPC],
        libc::SYS_setuid
        | libc::SYS_setgid
        | libc::SYS_setresuid
        | libc::SYS_setresgid
        | libc::SYS_setgroups
        | libc::SYS_capset => &[EPERM, EAGAIN, ENOMEM],
        libc::SYS_prctl => &[EPERM, EINVAL, ENOMEM],
        libc::SYS_seccomp => &[ENOMEM, EACCES, EINVAL],
        libc::SYS_execve | libc::SYS_execveat => &[ENOMEM, EACCES, EIO, EMFILE],
        libc::SYS_close_range => &[ENOMEM, EMFILE, ENOSYS],
        libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 | libc::SYS_fcntl => &[EMFILE, EINTR, EBUSY],
        libc::SYS_flock => &[EINTR, ENOLCK],
        libc::SYS_pipe2 | libc::SYS_memfd_create => &[EMFILE, ENOMEM],
        libc::SYS_setrlimit
        | libc::SYS_prlimit64
        | libc::SYS_setsid
        | libc::SYS_sethostname
        | libc::SYS_setdomainname => &[EPERM],
        libc::SYS_keyctl | libc::SYS_add_key => &[ENOMEM, ENOENT, EPERM, ENOSYS],
        libc::SYS_bpf => &[ENOMEM, EPERM, ENOSYS],
        libc::SYS_sendfile | libc::SYS_copy_file_range | libc::SYS_ftruncate => &[EIO, ENOMEM, ENOSPC],
        libc::SYS_ioctl => &[EIO, EPERM],
        libc::SYS_getrandom => &[EINTR, ENOSYS],
        _ => &[],
    }
}
