//! Network interfaces of the node, by rtnetlink.
//!
//! Why: CNI's bridge plugin makes a bridge and never takes one away, nor copes with one that it
//! had half made; and whose a port of it is, only the kernel knows. Owns: three messages:
//! RTM_DELLINK, RTM_GETLINK, RTM_GETNSID. In: the name of a bridge that bears the node's uid. Must
//! never happen here: a change of an interface of any other name.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// From linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/net_namespace.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const REQUEST_AND_ACK: u16 = 0x5;
const REQUEST_ALL: u16 = 0x301;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const NLA_TYPE_MASK: u16 = 0x3fff;
const ENODEV: i32 = 19;

/// An ifinfomsg that says nothing; a rtgenmsg with its padding.
const NO_LINK: [u8; 16] = [0; 16];
const NO_FAMILY: [u8; 4] = [0; 4];

/// The kernel fills at most 32 KiB for who takes so much.
const ROOM: usize = 64 << 10;

fn sys(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// Is this bridge one that was half made: its ports are gone, and with them its address, which
/// wasn't its own yet? The plugin fails on such a one.
#[must_use]
pub fn is_half_made(bridge: &str) -> bool {
    let address = fs::read_to_string(sys(bridge).join("address"));
    address.is_ok_and(|text| text.trim() == "00:00:00:00:00:00")
}

/// Removes an interface. Not there is fine.
///
/// # Errors
/// The kernel refused it.
pub fn delete(name: &str) -> io::Result<()> {
    let mut body = NO_LINK.to_vec();
    let terminated = [name.as_bytes(), &[0]].concat();
    add(&mut body, IFLA_IFNAME, &terminated)?;
    match ask(RTM_DELLINK, REQUEST_AND_ACK, &body) {
        Err(e) if e.raw_os_error() == Some(ENODEV) => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// A port of a bridge that is one end of a veth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The network namespace of the other end, by the kernel's number for it in ours (see
    /// [`number_of`]); none if that is ours.
    pub behind: Option<i32>,
}

/// The ports of a bridge; none if there is no such bridge.
///
/// # Errors
/// The kernel can't be asked.
pub fn ports(bridge: &str) -> io::Result<Vec<Port>> {
    let index = match fs::read_to_string(sys(bridge).join("ifindex")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?.trim().parse::<i32>().map_err(io::Error::other)?,
    };
    let links = ask(RTM_GETLINK, REQUEST_ALL, &NO_LINK)?;
    let links = links.iter().filter(|(kind, _)| *kind == RTM_NEWLINK);
    Ok(links.filter_map(|(_, body)| port(body, index)).collect())
}

fn port(link: &[u8], bridge: i32) -> Option<Port> {
    let of = |kind| value(link.get(NO_LINK.len()..)?, kind);
    let info = value(of(IFLA_LINKINFO)?, IFLA_INFO_KIND)?;
    if number(of(IFLA_MASTER)?)? != bridge || !info.starts_with(b"veth") {
        return None;
    }
    let name = of(IFLA_IFNAME)?.split(|byte| *byte == 0).next()?;
    Some(Port {
        name: String::from_utf8_lossy(name).into_owned(),
        behind: of(IFLA_LINK_NETNSID).and_then(number),
    })
}

/// The kernel's number of a named network namespace, as seen from ours; none if it has none, or
/// there is no namespace at this path.
#[must_use]
pub fn number_of(netns: &Path) -> Option<i32> {
    let file = File::open(netns).ok()?;
    let mut body = NO_FAMILY.to_vec();
    add(&mut body, NETNSA_FD, &file.as_raw_fd().to_ne_bytes()).ok()?;
    let answers = ask(RTM_GETNSID, REQUEST_AND_ACK, &body).ok()?;
    let (_, said) = answers.iter().find(|(kind, _)| *kind == RTM_NEWNSID)?;
    let number = number(value(said.get(NO_FAMILY.len()..)?, NETNSA_NSID)?)?;
    (number >= 0).then_some(number)
}

fn number(bytes: &[u8]) -> Option<i32> {
    bytes.try_into().ok().map(i32::from_ne_bytes)
}

/// Appends an attribute, padded.
fn add(to: &mut Vec<u8>, kind: u16, value: &[u8]) -> io::Result<()> {
    let length = u16::try_from(4 + value.len()).map_err(io::Error::other)?;
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
    Ok(())
}

/// The value of the first attribute of a kind.
fn value(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (half(attributes, 0)?, half(attributes, 2)?);
        let value = attributes.get(4..usize::from(length))?;
        if kind & NLA_TYPE_MASK == wanted {
            return Some(value);
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..)?;
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([two[0], two[1]]))
}

/// Sends one message, and returns kind and body of each answer to it.
fn ask(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
    let total = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::new();
    message.extend(total.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence, and the sender, which the kernel fills in.
    message.resize(16, 0);
    message.extend(body);
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answers = Vec::new();
    let mut room = vec![0; ROOM];
    loop {
        let length = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty())?;
        let mut left = &room[..length];
        while !left.is_empty() {
            let (kind, body, rest) = first(left).ok_or_else(short)?;
            match kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => match body.get(..4).and_then(number).ok_or_else(short)? {
                    0 => return Ok(answers),
                    code => return Err(io::Error::from_raw_os_error(-code)),
                },
                kind => answers.push((kind, body.to_vec())),
            }
            left = rest;
        }
    }
}

/// Kind and body of the first message, and what comes after it.
fn first(messages: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = number(messages.get(..4)?).and_then(|length| usize::try_from(length).ok())?;
    let body = messages.get(16..length)?;
    let next = length.next_multiple_of(4).min(messages.len());
    Some((half(messages, 4)?, body, &messages[next..]))
}

fn short() -> io::Error {
    io::Error::other("rtnetlink gave a short answer")
}

#[cfg(test)]
mod tests;
