//! The typed line between two processes of a launch. The direction is in the type: who holds a `Link<ToInit, FromInit>`
//! cannot say what init says. The end of the line is a word too: init's execve(2) closes it, and so does its death.

use crate::{
    error::{Error, Result},
    mount::ProcView,
    sys::{fd, socket},
};
use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

/// Something that can be said over a link.
pub trait Word: Sized {
    /// A tag and a payload.
    fn encode(&self) -> (u8, Vec<u8>);
    /// The word of a tag and payload; none where this side never says it.
    fn decode(tag: u8, payload: &[u8]) -> Option<Self>;
}

/// What the assembler tells the runtime.
#[derive(Debug, PartialEq)]
pub enum FromAssembler {
    /// It is in its new user namespace and wants the maps written. Waits for Go.
    Base,
    /// init lives, under this number.
    Born(i32),
    /// init has to be put into its control groups before it goes on. Waits for Go.
    Place,
    /// Everything is mounted; hooks of the runtime namespace may run. Waits for Go.
    Hooks,
    /// The root file system is in place, with this /proc where config.json asks for one. With a terminal: master and slave
    /// come along.
    Assembled(Option<ProcView>),
    /// For the log.
    Note(Error),
    /// It could not go on.
    Failed(Error),
}

/// What a stage tells whoever made it.
#[derive(Debug, PartialEq)]
pub enum FromStage {
    /// It is in its new user namespace and wants the maps written. Waits for Go.
    Maps,
    /// It has made a time namespace and wants the offsets written. Waits for Go.
    Offsets,
    /// Its child lives, under this number.
    Born(i32),
    /// For the log.
    Note(Error),
    /// It could not go on.
    Failed(Error),
}

/// The one answer to a question.
#[derive(Debug, PartialEq)]
pub enum Go {
    /// The question is answered; go on.
    Go,
}

/// What init is told.
#[derive(Debug, PartialEq)]
pub enum ToInit {
    /// Placed in its control groups: make the cgroup namespace now. Answered with Ready.
    Placed,
    /// Everything around it stands: become the container's process, up to execve(2). A terminal's slave comes along.
    Go,
    /// Execute.
    Start,
}

/// What init tells.
#[derive(Debug, PartialEq)]
pub enum FromInit {
    /// The last thing asked for is done. The master of a terminal that a process of exec has made comes along.
    Ready,
    /// The seccomp filter is about to be loaded. init will wait, without a system call, until the gate is opened.
    Listener {
        /// The listener's descriptor in init.
        fd: RawFd,
        /// The gate's address in init.
        gate: u64,
    },
    /// For the log.
    Note(Error),
    /// It could not go on.
    Failed(Error),
}

fn number(payload: &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(payload.try_into().ok()?))
}

impl Word for FromAssembler {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Base => (b'b', Vec::new()),
            Self::Born(pid) => (b'n', pid.to_le_bytes().to_vec()),
            Self::Place => (b'p', Vec::new()),
            Self::Hooks => (b'h', Vec::new()),
            Self::Assembled(proc) => {
                (b'a', proc.map(|proc| proc.word().as_bytes().to_vec()).unwrap_or_default())
            }
            Self::Note(note) => (b'!', note.encode()),
            Self::Failed(error) => (b'f', error.encode()),
        }
    }

    fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            b'b' => Some(Self::Base),
            b'n' => number(payload).map(Self::Born),
            b'p' => Some(Self::Place),
            b'h' => Some(Self::Hooks),
            b'a' if payload.is_empty() => Some(Self::Assembled(None)),
            b'a' => {
                ProcView::from_word(str::from_utf8(payload).ok()?).map(|proc| Self::Assembled(Some(proc)))
            }
            b'!' => Some(Self::Note(Error::decode(payload))),
            b'f' => Some(Self::Failed(Error::decode(payload))),
            _ => None,
        }
    }
}

impl Word for FromStage {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Maps => (b'm', Vec::new()),
            Self::Offsets => (b'o', Vec::new()),
            Self::Born(pid) => (b'n', pid.to_le_bytes().to_vec()),
            Self::Note(note) => (b'!', note.encode()),
            Self::Failed(error) => (b'f', error.encode()),
        }
    }

    fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            b'm' => Some(Self::Maps),
            b'o' => Some(Self::Offsets),
            b'n' => number(payload).map(Self::Born),
            b'!' => Some(Self::Note(Error::decode(payload))),
            b'f' => Some(Self::Failed(Error::decode(payload))),
            _ => None,
        }
    }
}

impl Word for Go {
    fn encode(&self) -> (u8, Vec<u8>) {
        (b'g', Vec::new())
    }

    fn decode(tag: u8, _: &[u8]) -> Option<Self> {
        (tag == b'g').then_some(Self::Go)
    }
}

impl Word for ToInit {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Placed => (b'p', Vec::new()),
            Self::Go => (b'g', Vec::new()),
            Self::Start => (b's', Vec::new()),
        }
    }

    fn decode(tag: u8, _: &[u8]) -> Option<Self> {
        match tag {
            b'p' => Some(Self::Placed),
            b'g' => Some(Self::Go),
            b's' => Some(Self::Start),
            _ => None,
        }
    }
}

impl Word for FromInit {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Ready => (b'r', Vec::new()),
            Self::Listener { fd, gate } => (b'l', [&fd.to_le_bytes()[..], &gate.to_le_bytes()].concat()),
            Self::Note(note) => (b'!', note.encode()),
            Self::Failed(error) => (b'f', error.encode()),
        }
    }

    fn decode(tag: u8, payload: &[u8]) -> Option<Self> {
        match tag {
            b'r' => Some(Self::Ready),
            b'l' => {
                let (fd, gate) = payload.split_first_chunk::<4>()?;
                let gate = u64::from_le_bytes(gate.try_into().ok()?);
                Some(Self::Listener { fd: i32::from_le_bytes(*fd), gate })
            }
            b'!' => Some(Self::Note(Error::decode(payload))),
            b'f' => Some(Self::Failed(Error::decode(payload))),
            _ => None,
        }
    }
}

/// One end of a line: says `Tx`, hears `Rx`.
#[derive(Debug)]
pub struct Link<Tx, Rx> {
    socket: OwnedFd,
    /// Bytes that came together with an earlier word: a stream does not keep words apart.
    pending: Vec<u8>,
    /// The other side has ended with words that it never heard.
    unheard: bool,
    words: PhantomData<(Tx, Rx)>,
}

/// A word with the descriptors that came along.
#[derive(Debug)]
pub struct Heard<Rx> {
    /// What was said.
    pub word: Rx,
    /// What came along.
    pub fds: Vec<OwnedFd>,
}

/// Tag and length of the payload.
const HEADER: usize = 5;
/// Longer than any error; a longer payload is not ours.
const LONGEST: usize = 64 * 1024;
/// What is sent at once: room for every word but a long error, and so little that hearing takes no memory from the kernel.
const CHUNK: usize = 1024;

/// The two ends of a new line.
pub fn pair<Tx: Word, Rx: Word>() -> Result<(Link<Tx, Rx>, Link<Rx, Tx>)> {
    let (near, far) = socket::pair()?;
    Ok((Link::over(near), Link::over(far)))
}

impl<Tx: Word, Rx: Word> Link<Tx, Rx> {
    /// A line over a connected socket.
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket, pending: Vec::new(), unheard: false, words: PhantomData }
    }

    /// Says a word.
    pub fn say(&self, word: &Tx) -> Result<()> {
        self.say_with(word, &[])
    }

    /// Says a word and hands descriptors over.
    pub fn say_with(&self, word: &Tx, mut fds: &[BorrowedFd<'_>]) -> Result<()> {
        let (tag, payload) = word.encode();
        let payload = &payload[..payload.len().min(LONGEST)];
        let mut message = Vec::with_capacity(HEADER + payload.len());
        message.push(tag);
        #[allow(clippy::cast_possible_truncation)] // bounded by LONGEST
        message.extend((payload.len() as u32).to_le_bytes());
        message.extend(payload);
        for chunk in message.chunks(CHUNK) {
            socket::send(self.socket.as_fd(), chunk, std::mem::take(&mut fds))?;
        }
        Ok(())
    }

    /// Says a word after which the other side is heard: that it is gone is no error here, because its last word, or the
    /// end of the line, tells more.
    pub fn tell(&mut self, word: &Tx, fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.say_with(word, fds) {
            Err(error) if matches!(error.errno(), Some(libc::EPIPE | libc::ECONNRESET)) => {
                self.unheard = true;
                Ok(())
            }
            result => result,
        }
    }

    /// Hears the next word; none when the other side is gone.
    pub fn hear(&mut self) -> Result<Option<Heard<Rx>>> {
        let mut fds = Vec::new();
        loop {
            if let Some(word) = self.take()? {
                return Ok(Some(Heard { word, fds }));
            }
            match socket::receive(self.socket.as_fd(), CHUNK) {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => {
                    self.pending.extend(message.bytes);
                    fds.extend(message.fds);
                }
                // Said once, before what is still to be read: the other side has ended and left words unread.
                Err(error) if error.errno() == Some(libc::ECONNRESET) => self.unheard = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Hears what has been said already; none also where the line has ended or fails, which whoever waits will hear.
    pub fn heard(&mut self) -> Option<Heard<Rx>> {
        let is_readable = fd::wait_readable(self.socket.as_fd(), Some(Duration::ZERO)).unwrap_or(false);
        if is_readable { self.hear().ok().flatten() } else { None }
    }

    /// Whether the other side has ended without hearing everything that was said to it, known at the end of the line.
    pub fn left_words_unheard(&self) -> bool {
        self.unheard
    }

    /// Hears a word that has to come: the end of the line is an error that names who ended it.
    pub fn expect(&mut self, who: &str) -> Result<Heard<Rx>> {
        self.hear()?.ok_or_else(|| Error::new(format_args!("{who} ended without a word")))
    }

    fn take(&mut self) -> Result<Option<Rx>> {
        let Some((&tag, rest)) = self.pending.split_first() else { return Ok(None) };
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            crate::bail!("a word of {length} bytes is not one of ours");
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let word = Rx::decode(tag, payload)
            .ok_or_else(|| Error::new(format_args!("unexpected word {:?}", char::from(tag))))?;
        self.pending.drain(..HEADER + length);
        Ok(Some(word))
    }
}

impl<Tx, Rx> AsFd for Link<Tx, Rx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Tx, Rx> AsRawFd for Link<Tx, Rx> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_arrives_as_it_was_said() {
        let (near, mut far) = pair::<FromAssembler, Go>().unwrap();
        let words = [
            FromAssembler::Base,
            FromAssembler::Born(7),
            FromAssembler::Place,
            FromAssembler::Hooks,
            FromAssembler::Assembled(None),
            FromAssembler::Assembled(Some(ProcView::Subset)),
            FromAssembler::Failed(Error::new("x").context("y").hint("z")),
        ];
        for word in words {
            near.say(&word).unwrap();
            assert_eq!(far.hear().unwrap().unwrap().word, word);
        }
        far.say(&Go::Go).unwrap();
        drop(near);
        assert!(far.hear().unwrap().is_none(), "the end of the line is no error");
        assert_eq!(
            far.expect("the assembler").unwrap_err().to_string(),
            "the assembler ended without a word"
        );
    }

    #[test]
    fn descriptors_come_along() {
        let (near, mut far) = pair::<ToInit, FromInit>().unwrap();
        near.say_with(&ToInit::Go, &[near.as_fd()]).unwrap();
        assert_eq!(far.hear().unwrap().unwrap().fds.len(), 1);
    }

    #[test]
    fn a_long_word_comes_in_pieces_and_is_heard_as_one() {
        let (near, mut far) = pair::<FromInit, ToInit>().unwrap();
        let why = FromInit::Failed(Error::new("why ".repeat(5000)));
        near.say_with(&why, &[near.as_fd()]).unwrap();
        near.say(&FromInit::Ready).unwrap();
        let heard = far.hear().unwrap().unwrap();
        assert_eq!((heard.word, heard.fds.len()), (why, 1));
        assert_eq!(far.hear().unwrap().unwrap().word, FromInit::Ready);
    }

    #[test]
    fn last_words_are_heard_from_somebody_who_has_not_listened() {
        let (near, mut far) = pair::<FromInit, ToInit>().unwrap();
        far.say(&ToInit::Placed).unwrap();
        near.say(&FromInit::Failed(Error::new("why"))).unwrap();
        drop(near);
        far.tell(&ToInit::Go, &[]).unwrap();
        assert_eq!(far.hear().unwrap().unwrap().word, FromInit::Failed(Error::new("why")));
        assert!(far.hear().unwrap().is_none());
    }

    #[test]
    fn a_word_of_the_wrong_side_is_refused() {
        let (near, far) = socket::pair().unwrap();
        let mut link = Link::<Go, FromInit>::over(far);
        socket::send(near.as_fd(), b"z\0\0\0\0", &[]).unwrap();
        assert!(link.hear().unwrap_err().to_string().contains("unexpected word 'z'"));
    }

    #[test]
    fn words_that_arrive_together_are_told_apart() {
        let (near, far) = socket::pair().unwrap();
        let mut link = Link::<ToInit, FromInit>::over(far);
        socket::send(near.as_fd(), b"r\0\0\0\0l\x0c\0\0\0\x05\0\0\0\x07\0\0\0\0\0\0\0", &[]).unwrap();
        assert_eq!(link.hear().unwrap().unwrap().word, FromInit::Ready);
        assert_eq!(link.hear().unwrap().unwrap().word, FromInit::Listener { fd: 5, gate: 7 });
    }
}
