//! Messages of rtnetlink(7), written and read with every bound checked.

/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct rtattr`
const ATTRIBUTE: usize = 4;
/// `struct ifinfomsg`
const LINK: usize = 16;
/// `struct ifaddrmsg`
const ADDRESS: usize = 8;

/// A request under construction: header, fixed part, attributes.
#[derive(Clone, Debug)]
pub struct Request(Vec<u8>);

impl Request {
    /// A message of type `kind` (`RTM_*`) with `flags` (`NLM_F_*`) and its fixed part.
    pub fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // the flags are 16 bits, libc types them int
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        bytes.extend(fixed);
        Self(bytes)
    }

    /// Adds an attribute; `value` is shorter than 64 KiB.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.resize(align(self.0.len()), 0);
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self
    }

    /// The message as bytes, with its length and sequence number filled in.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// `struct ifinfomsg` for device `index`: the bits of `change` become those of `flags`.
pub fn link_fixed(index: i32, flags: u32, change: u32) -> [u8; LINK] {
    let mut fixed = [0; LINK];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&change.to_ne_bytes());
    fixed
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `RTM_*` or `NLMSG_*`
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// which request it answers
    pub sequence: u32,
    /// what follows the header
    pub body: &'a [u8],
}

/// The messages of a datagram; it ends at the first one whose length is wrong.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let message = Message {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            sequence: u32_at(datagram, 8)?,
            body: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes behind a fixed part; it ends at the first one whose length is wrong.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_TYPE_MASK`
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & KIND;
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The errno in the body of an `NLMSG_ERROR`; 0 is an acknowledgement.
pub fn errno(body: &[u8]) -> Option<i32> {
    let code = body.get(..4)?.try_into().ok().map(i32::from_ne_bytes)?;
    code.checked_neg()
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// its number in its namespace
    pub index: i32,
    /// its name
    pub name: String,
}

impl Link {
    /// Reads the body of an `RTM_NEWLINK`.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let index = u32_at(body, 4)?.cast_signed();
        let (_, name) = attributes(body.get(LINK..)?).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(Self { index, name: String::from_utf8_lossy(name).into_owned() })
    }
}

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// which device
    pub index: i32,
    /// `AF_INET` or `AF_INET6`
    pub family: u8,
    /// length of the network's prefix
    pub prefix: u8,
    /// `RT_SCOPE_*`
    pub scope: u8,
    /// `IFA_F_*`
    pub flags: u32,
    /// `IFA_LOCAL`: the device's own address (IPv4)
    pub local: Option<Vec<u8>>,
    /// `IFA_ADDRESS`: the peer's, which without one, and for IPv6, is the device's own again
    pub remote: Option<Vec<u8>>,
    /// the broadcast address
    pub broadcast: Option<Vec<u8>>,
}

/// `IFA_F_*` of rtnetlink(7) that are wishes of whoever gave the address.
const WISHES: u32 = libc::IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
/// No route to the network of this address.
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// Flags as 32 bits, `IFA_FLAGS`.
const IFA_FLAGS: u16 = 8;

impl Address {
    /// Reads the body of an `RTM_NEWADDR`.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut address = Self {
            family: *body.first()?,
            prefix: *body.get(1)?,
            flags: u32::from(*body.get(2)?),
            scope: *body.get(3)?,
            index: u32_at(body, 4)?.cast_signed(),
            local: None,
            remote: None,
            broadcast: None,
        };
        for (kind, value) in attributes(body.get(ADDRESS..)?) {
            match kind {
                libc::IFA_ADDRESS => address.remote = Some(value.to_vec()),
                libc::IFA_LOCAL => address.local = Some(value.to_vec()),
                libc::IFA_BROADCAST => address.broadcast = Some(value.to_vec()),
                IFA_FLAGS => address.flags = u32_at(value, 0)?,
                _ => {}
            }
        }
        Some(address)
    }

    /// Whether it was configured (not learnt) and is good beyond the link: what moves along with a device.
    pub fn is_permanent_and_global(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0 && self.scope == libc::RT_SCOPE_UNIVERSE
    }

    /// The request that gives the address to device `index`.
    pub fn add_to(&self, index: i32) -> Request {
        let mut fixed = [0; ADDRESS];
        fixed[0] = self.family;
        fixed[1] = self.prefix;
        fixed[3] = self.scope;
        fixed[4..].copy_from_slice(&index.to_ne_bytes());
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWADDR, flags, &fixed);
        let parts = [
            (libc::IFA_LOCAL, &self.local),
            (libc::IFA_ADDRESS, &self.remote),
            (libc::IFA_BROADCAST, &self.broadcast),
        ];
        for (kind, value) in parts {
            if let Some(value) = value {
                request = request.attribute(kind, value);
            }
        }
        request.attribute(IFA_FLAGS, &(self.flags & WISHES).to_ne_bytes())
    }

    /// The address as people write it.
    pub fn text(&self) -> String {
        let bytes = self.local.as_ref().or(self.remote.as_ref()).map_or(&[][..], Vec::as_slice);
        let text = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(four), _) => std::net::Ipv4Addr::from(four).to_string(),
            (_, Ok(sixteen)) => std::net::Ipv6Addr::from(sixteen).to_string(),
            _ => format!("{bytes:x?}"),
        };
        format!("{text}/{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_can_be_read() {
        let request = Request::new(libc::RTM_NEWLINK, libc::NLM_F_REQUEST, &link_fixed(7, 1, 1))
            .attribute(99, &[1])
            .attribute(libc::IFLA_IFNAME, b"eth7\0")
            .finish(3);
        let message = messages(&request).next().unwrap();
        assert_eq!((message.kind, message.sequence), (libc::RTM_NEWLINK, 3));
        assert_eq!(Link::parse(message.body).unwrap(), Link { index: 7, name: "eth7".into() });
    }

    #[test]
    fn an_address_keeps_what_its_owner_wished() {
        let given = Address {
            index: 7,
            family: 2,
            prefix: 24,
            scope: 0,
            flags: libc::IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE,
            local: Some(vec![10, 0, 0, 1]),
            remote: Some(vec![10, 0, 0, 2]),
            broadcast: None,
        };
        assert!(given.is_permanent_and_global());
        assert_eq!(given.text(), "10.0.0.1/24");
        let bytes = given.add_to(9).finish(1);
        let read = Address::parse(messages(&bytes).next().unwrap().body).unwrap();
        assert_eq!(read, Address { index: 9, flags: IFA_F_NOPREFIXROUTE, ..given });
    }

    proptest! {
        #[test]
        fn no_answer_confuses_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..256), length in 0_u8..64) {
            let mut bytes = bytes;
            if bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[length, 0, 0, 0]);
            }
            for message in messages(&bytes) {
                Link::parse(message.body);
                errno(message.body);
                if let Some(address) = Address::parse(message.body) {
                    address.text();
                }
            }
        }
    }
}
