//! The client's side of a streamed exec, as `kubectl exec` is carried from the API server to the engine: channels over a WebSocket
//! (`v4.channel.k8s.io` of k8s.io/apimachinery, RFC 6455), through busybox's `nc` because the engine listens in its site.

use crate::common::{Proc, deadline};
use crate::site::{Site, Who};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Channels by their first byte.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;

/// A program that runs at the other end.
pub struct Stream {
    nc: Child,
    input: ChildStdin,
    frames: Receiver<Vec<u8>>,
    /// What came on standard output so far.
    pub stdout: String,
    /// What came on standard error so far.
    pub stderr: String,
    /// How it ended: JSON, a Status of meta/v1.
    pub status: String,
}

impl Stream {
    /// Connects to the URL that the engine gave for an exec.
    pub fn open(site: &Site, url: &str) -> Self {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let (address, port) = host.rsplit_once(':').unwrap();
        let mut command = site.command(Who::Root, &["busybox", "nc", address, port]);
        let mut nc = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (nc.stdin.take().unwrap(), nc.stdout.take().unwrap());
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        input.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(byte(&mut output).expect("the engine answers"));
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let (sender, frames) = channel();
        // A thread, so that whoever waits can lose patience.
        std::thread::spawn(move || {
            while let Some(frame) = frame(&mut output) {
                if sender.send(frame).is_err() {
                    break;
                }
            }
        });
        Self { nc, input, frames, stdout: String::new(), stderr: String::new(), status: String::new() }
    }

    /// What the user types.
    pub fn write(&mut self, text: &str) {
        self.send(STDIN, text);
    }

    /// The size of the user's terminal.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.send(RESIZE, &format!(r#"{{"Width":{columns},"Height":{rows}}}"#));
    }

    fn send(&mut self, channel: u8, text: &str) {
        // One final binary frame; a client masks what it sends, and a mask of zeros changes nothing.
        let length = u8::try_from(text.len() + 1).unwrap();
        assert!(length < 126);
        let head = [0x82, 0x80 | length, 0, 0, 0, 0, channel];
        self.input.write_all(&[&head[..], text.as_bytes()].concat()).unwrap();
    }

    /// Reads until `enough`, or fails the test.
    #[track_caller]
    pub fn read_until(&mut self, enough: impl Fn(&Self) -> bool) {
        let deadline = deadline(20);
        while !enough(self) {
            let rest = deadline.saturating_duration_since(Instant::now());
            let said = || format!("out: {} err: {} status: {}", self.stdout, self.stderr, self.status);
            let frame = self.frames.recv_timeout(rest).unwrap_or_else(|error| panic!("{error}: {}", said()));
            let Some((channel, content)) = frame.split_first() else { continue };
            let place = match *channel {
                STDOUT => &mut self.stdout,
                STDERR => &mut self.stderr,
                STATUS => &mut self.status,
                other => panic!("channel {other}"),
            };
            place.push_str(&String::from_utf8_lossy(content));
        }
    }

    /// Reads until the program has ended.
    #[track_caller]
    pub fn finish(&mut self) {
        self.read_until(|stream| !stream.status.is_empty());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let id = self.nc.id();
        let below = Proc(id).read(&format!("task/{id}/children"));
        // In namespaces the program is a child of nsenter, which has to stay until it has seen the child's end.
        let ends = if below.is_empty() {
            vec![id]
        } else {
            below.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
        };
        for pid in ends {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.nc.wait();
    }
}

fn byte(output: &mut ChildStdout) -> Option<u8> {
    let mut byte = [0];
    output.read_exact(&mut byte).ok().map(|()| byte[0])
}

/// The content of the next frame from the server, which does not mask.
fn frame(output: &mut ChildStdout) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    output.read_exact(&mut head).ok()?;
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes([byte(output)?, byte(output)?])),
        127 => panic!("a frame of more than 64 KiB"),
        length => usize::from(length),
    };
    let mut content = vec![0; length];
    output.read_exact(&mut content).ok()?;
    Some(content)
}
