//! A connection to a message bus, or to systemd's own socket: authentication, calls, signals. Everything waits for a bounded
//! time. See docs/adr/0007-own-bus-client.md.

use super::wire::{self, Call, FIXED, Kind, Message, Value};
use crate::{
    bail,
    error::{Context, Error, Result},
    sys::{fd, socket},
};
use std::{
    collections::VecDeque,
    fmt,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What a bus reads in front of the first message: a NUL byte, then the lines of the authentication. EXTERNAL without an
/// identity lets the server take the one that the kernel gives it (SO_PEERCRED). That is the uid outside of whatever user
/// namespace this is, which a process inside cannot always know. No answer decides what is said next, so all goes at once.
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// The longest line of an authentication; a server's are shorter than 100 bytes.
const LONGEST_LINE: usize = 4096;
/// The most that is read at once.
const CHUNK: usize = 16 << 10;
/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// Where a service manager listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The socket.
    pub path: PathBuf,
    /// Who answers there.
    pub peer: Peer,
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A message bus, on which systemd has a name.
    Bus,
    /// systemd itself: no bus has to run.
    Manager,
}

/// How an address of a bus is written.
const UNIX_PATH: &str = "unix:path=";
/// How systemd's own socket is written down; no bus has an address of this form.
const PRIVATE: &str = "systemd:path=";

impl Address {
    /// A message bus at a socket.
    pub fn bus(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), peer: Peer::Bus }
    }

    /// The first address of a list that this program can use (D-Bus specification, "Server Addresses").
    ///
    /// # Errors
    /// None of them is a socket with a path.
    pub fn parse(text: &str) -> Result<Self> {
        for address in text.split(';') {
            if let Some(path) = address.strip_prefix(PRIVATE) {
                return Ok(Self { path: path.into(), peer: Peer::Manager });
            }
            let path = address.strip_prefix("unix:").and_then(|keys| {
                keys.split(',').find_map(|pair| pair.strip_prefix("path=")).and_then(unescape)
            });
            if let Some(path) = path {
                return Ok(Self::bus(path));
            }
        }
        Err(Error::new(format_args!("bus address {text:?} names no socket in the file system"))
            .hint("an address such as unix:path=/run/user/1000/bus is needed"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.peer == Peer::Bus { UNIX_PATH } else { PRIVATE };
        write!(f, "{form}{}", self.path.display())
    }
}

/// Undoes the `%2f` of an address.
fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

/// The answer to a call: what it returns, or why it was refused.
pub type Answer = std::result::Result<Vec<Value>, Refusal>;

/// A refusal by the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name, `org.freedesktop.systemd1.NoSuchUnit`.
    pub name: String,
    /// Its reason, for people.
    pub text: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { name, text } = refusal;
        let error = Self::new(format_args!("{text} ({name})"));
        let last = name.rsplit('.').next().unwrap_or(&name);
        let hint = match last {
            "AccessDenied" | "InteractiveAuthorizationRequired" | "AuthFailed" => {
                "units of the system manager are root's; without root the user's own manager is asked, at $XDG_RUNTIME_DIR/bus"
            }
            "ServiceUnknown" | "NameHasNoOwner" => {
                "no systemd is on this bus (dbus-run-session starts one without): unset DBUS_SESSION_BUS_ADDRESS, or use the \
                 cgroupfs driver"
            }
            "PropertyReadOnly" | "UnknownProperty" => {
                "this systemd does not know the property; remove its org.systemd.property annotation"
            }
            "ENXIO" => {
                "a property has another type; in an org.systemd.property annotation write `uint64 5`, for instance, for 5"
            }
            _ => return error,
        };
        error.hint(hint)
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    address: Address,
    /// How long an answer may take.
    patience: Duration,
    is_authenticated: bool,
    serial: u32,
    /// What was queued and not sent yet.
    outbox: Vec<u8>,
    /// What was received and not understood yet.
    inbox: Vec<u8>,
    /// Signals that came while an answer was awaited.
    news: VecDeque<Message>,
}

impl Bus {
    /// Connects, and queues what has to be said first. Nothing is sent until an answer is awaited, so that calls which do not
    /// depend on each other make one message on the way there.
    pub fn connect(address: Address, patience: Duration) -> Result<Self> {
        let socket = socket::connect_within(&address.path, patience)?;
        let mut bus = Self {
            socket,
            address,
            patience,
            is_authenticated: false,
            serial: 0,
            outbox: AUTHENTICATION.to_vec(),
            inbox: Vec::new(),
            news: VecDeque::new(),
        };
        if bus.address.peer == Peer::Bus {
            bus.bus_call("Hello", &[]);
        }
        Ok(bus)
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for signals; a manager that is connected directly sends all of them anyway.
    pub fn subscribe(&mut self, rule: &str) {
        if self.address.peer == Peer::Bus {
            self.bus_call("AddMatch", &[Value::text(rule)]);
        }
    }

    fn bus_call(&mut self, member: &str, arguments: &[Value]) {
        let path = "/org/freedesktop/DBus";
        self.queue(&Call { destination: Some(BUS), path, interface: BUS, member, arguments });
    }

    /// Queues a call; its number is what the answer is awaited by.
    pub fn queue(&mut self, call: &Call<'_>) -> u32 {
        self.serial += 1;
        let destination = call.destination.filter(|_| self.address.peer == Peer::Bus);
        self.outbox.extend(Call { destination, ..*call }.encode(self.serial));
        self.serial
    }

    /// The answer to a queued call. Refusals of calls that nobody awaits are passed over.
    ///
    /// # Errors
    /// No answer in time, the end of the connection, something that is not D-Bus.
    pub fn answer(&mut self, serial: u32) -> Result<Answer> {
        self.with_deadline(|bus, deadline| {
            loop {
                let message = bus.receive(deadline)?;
                match message.kind {
                    Kind::Return if message.reply_to == Some(serial) => return Ok(Ok(message.arguments)),
                    Kind::Error if message.reply_to == Some(serial) => {
                        let text =
                            message.arguments.first().and_then(Value::as_text).unwrap_or("no reason given");
                        return Ok(Err(Refusal { text: text.to_owned(), name: message.name }));
                    }
                    Kind::Signal => bus.news.push_back(message),
                    _ => {}
                }
            }
        })
    }

    /// Queues a call and awaits its answer.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Answer> {
        let serial = self.queue(call);
        self.answer(serial)
    }

    /// The first signal from now on, or of those that came meanwhile, about which `wanted` has something to say.
    pub fn signal<T>(&mut self, wanted: impl Fn(&Message) -> Option<T>) -> Result<T> {
        self.with_deadline(|bus, deadline| {
            loop {
                let message = match bus.news.pop_front() {
                    Some(message) => message,
                    None => bus.receive(deadline)?,
                };
                if let Some(found) = (message.kind == Kind::Signal).then(|| wanted(&message)).flatten() {
                    return Ok(found);
                }
            }
        })
    }

    fn with_deadline<T>(&mut self, body: impl FnOnce(&mut Self, Instant) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        body(self, deadline).with_context(|| self.address.to_string())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        self.flush()?;
        while !self.is_authenticated {
            let line = self.line(deadline)?;
            match line.split(' ').next() {
                Some("OK") => self.is_authenticated = true,
                Some("DATA") => {}
                _ => {
                    return Err(Error::new(format_args!("the authentication was refused: {line}"))
                        .hint("a user's bus serves that user alone"));
                }
            }
        }
        self.fill(FIXED, deadline)?;
        let mut head = [0; FIXED];
        head.copy_from_slice(&self.inbox[..FIXED]);
        let length = wire::length(&head)?;
        self.fill(length, deadline)?;
        let message = Message::decode(&self.inbox[..length])?;
        self.inbox.drain(..length);
        Ok(message)
    }

    fn flush(&mut self) -> Result<()> {
        match std::mem::take(&mut self.outbox) {
            bytes if bytes.is_empty() => Ok(()),
            bytes => socket::send(self.socket.as_fd(), &bytes, &[]),
        }
    }

    /// A line of the authentication.
    fn line(&mut self, deadline: Instant) -> Result<String> {
        let mut length = 1;
        loop {
            self.fill(length, deadline)?;
            if let Some(at) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.inbox[..at]).into_owned();
                self.inbox.drain(..at + 2);
                return Ok(line);
            }
            length = self.inbox.len() + 1;
            if length > LONGEST_LINE {
                bail!("this is no D-Bus server: {LONGEST_LINE} bytes without an end of line");
            }
        }
    }

    /// Receives until this many bytes are there.
    fn fill(&mut self, length: usize, deadline: Instant) -> Result<()> {
        while self.inbox.len() < length {
            let left = deadline.saturating_duration_since(Instant::now());
            if !fd::wait_readable(self.socket.as_fd(), Some(left))? {
                return Err(Error::new(format_args!("no answer within {} s", self.patience.as_secs_f32()))
                    .hint("systemd may be reloading, or hang: see `systemctl status` and `journalctl -b _PID=1`"));
            }
            match socket::receive(self.socket.as_fd(), CHUNK)? {
                Some(message) => self.inbox.extend(message.bytes),
                None => bail!("the connection was closed by the other side"),
            }
        }
        Ok(())
    }
}

/// Whether connecting failed because nobody is there, so that another address may be tried.
pub fn is_absent(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR))
}

/// The socket of a bus in a directory of the environment, where that is set and not empty.
pub fn below(variable: &str, name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable).filter(|dir| !dir.is_empty())?;
    Some(Path::new(&dir).join(name))
}
