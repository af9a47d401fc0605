//! Tests of the module above.

use super::*;
use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::fs::PermissionsExt,
};

fn file_with(text: &str) -> File {
    let fd = nix::sys::memfd::memfd_create(c"test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn text_of(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("urun-socket-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn bytes_and_descriptors_arrive_together_and_in_order() {
    let (a, b) = pair().unwrap();
    let (one, two) = (file_with("one"), file_with("two"));
    send(a.as_fd(), b"hello", &[one.as_fd(), two.as_fd()]).unwrap();
    send(a.as_fd(), b"next", &[]).unwrap();
    let Message { bytes, fds } = receive(b.as_fd(), 64).unwrap().unwrap();
    assert_eq!(bytes, b"hello");
    let texts: Vec<String> = fds.into_iter().map(text_of).collect();
    assert_eq!(texts, ["one", "two"]);
    let next = receive(b.as_fd(), 64).unwrap().unwrap();
    assert_eq!((next.bytes.as_slice(), next.fds.len()), (b"next".as_slice(), 0));
}

#[test]
fn what_arrives_is_close_on_exec() {
    let (a, b) = pair().unwrap();
    send(a.as_fd(), b"x", &[a.as_fd()]).unwrap();
    let message = receive(b.as_fd(), 1).unwrap().unwrap();
    for fd in [&a, &b, &message.fds[0]] {
        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

#[test]
fn the_end_of_the_peer_is_the_end_of_file() {
    let (a, b) = pair().unwrap();
    drop(a);
    assert!(receive(b.as_fd(), 1).unwrap().is_none());
    let error = send(b.as_fd(), b"x", &[]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EPIPE));
}

#[test]
fn an_empty_message_is_refused() {
    let (a, _b) = pair().unwrap();
    assert!(send(a.as_fd(), b"", &[]).is_err());
}

#[test]
fn a_message_longer_than_the_room_is_an_error() {
    let (a, b) = pair().unwrap();
    send(a.as_fd(), b"four", &[]).unwrap();
    let error = receive(b.as_fd(), 3).unwrap_err().to_string();
    assert!(error.contains("longer than 3 bytes"), "{error}");
}

#[test]
fn as_many_descriptors_as_the_kernel_takes_and_no_more() {
    let (a, b) = pair().unwrap();
    let file = file_with("");
    send(a.as_fd(), b"x", &vec![file.as_fd(); MAX_FDS]).unwrap();
    assert_eq!(receive(b.as_fd(), 1).unwrap().unwrap().fds.len(), MAX_FDS);
    assert!(send(a.as_fd(), b"x", &vec![file.as_fd(); MAX_FDS + 1]).is_err());
}

#[test]
fn descriptors_that_were_lost_on_the_way_are_an_error() {
    // A child, because the limit on open files belongs to the whole process.
    let (a, b) = pair().unwrap();
    send(a.as_fd(), b"x", &[a.as_fd(); 8]).unwrap();
    // SAFETY: the child only makes system calls and leaves by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let room = u64::from((b.as_raw_fd() + 3).cast_unsigned());
        let limit = libc::rlimit { rlim_cur: room, rlim_max: room };
        // SAFETY: `limit` is alive; _exit does not return.
        unsafe {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            let lost = receive(b.as_fd(), 1).is_err_and(|e| e.to_string().contains("descriptors"));
            libc::_exit(i32::from(!lost));
        }
    }
    let mut status = 0;
    // SAFETY: `status` is alive.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(status, 0);
}

#[test]
fn a_stream_carries_more_than_its_buffer_holds() {
    let dir = Dir::new("long-text");
    let path = dir.0.join("socket");
    let listener = bind(&path).unwrap();
    let client = connect(&path).unwrap();
    let server = accept(listener.as_fd()).unwrap();
    let text = vec![b'x'; 4 << 20];
    let sent = text.clone();
    let sender = std::thread::spawn(move || send(client.as_fd(), &sent, &[]));
    let mut got = Vec::new();
    while let Some(message) = receive(server.as_fd(), 65536).unwrap() {
        got.extend(message.bytes);
    }
    sender.join().unwrap().unwrap();
    assert!(got == text);
}

#[test]
fn a_path_of_any_length_can_be_bound_and_reached() {
    for (name, depth) in [("short", 0), ("long", 5)] {
        let dir = Dir::new(name);
        let mut path = dir.0.clone();
        path.extend(std::iter::repeat_n("d".repeat(60), depth));
        std::fs::create_dir_all(&path).unwrap();
        path.push("socket");
        let listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        send_descriptor(&path, b"/dev/pts/0", file_with("console").as_fd()).unwrap();
        let server = accept(listener.as_fd()).unwrap();
        let Message { bytes, mut fds } = receive(server.as_fd(), 4096).unwrap().unwrap();
        assert_eq!((bytes.as_slice(), fds.len()), (b"/dev/pts/0".as_slice(), 1));
        assert_eq!(text_of(fds.remove(0)), "console");
        assert!(receive(server.as_fd(), 1).unwrap().is_none());
    }
}

#[test]
fn an_address_that_is_taken_or_missing_names_the_path() {
    let dir = Dir::new("errors");
    let path = dir.0.join("socket");
    assert!(connect(&path).unwrap_err().to_string().contains("errors/socket"));
    let _listener = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EADDRINUSE));
    assert!(error.to_string().contains("errors/socket"), "{error}");
}
