//! Network interfaces of the node, by rtnetlink.
//!
//! Why: CNI's bridge plugin makes a bridge and never takes one away, nor copes with one that it
//! had half made. Owns: one message, RTM_DELLINK. In: the name of a bridge that bears the node's
//! uid. Must never happen here: an interface of any other name.

use std::{
    fs, io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// From linux/rtnetlink.h, linux/netlink.h, linux/if_link.h.
const RTM_DELLINK: u16 = 17;
const REQUEST_AND_ACK: u16 = 0x5;
const IFLA_IFNAME: u16 = 3;
const ENODEV: i32 = 19;

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
    let mut attribute = Vec::new();
    let length = u16::try_from(4 + name.len() + 1).map_err(io::Error::other)?;
    attribute.extend(length.to_ne_bytes());
    attribute.extend(IFLA_IFNAME.to_ne_bytes());
    attribute.extend(name.as_bytes());
    attribute.push(0);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let total = u32::try_from(16 + 16 + attribute.len()).map_err(io::Error::other)?;
    let mut message = Vec::new();
    message.extend(total.to_ne_bytes());
    message.extend(RTM_DELLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    // Sequence, sender (the kernel fills it in), and an empty ifinfomsg: the name says which.
    message.resize(16 + 16, 0);
    message.extend(attribute);
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code = answer[..length].get(16..20);
    match code.map(|code| i32::from_ne_bytes([code[0], code[1], code[2], code[3]])) {
        Some(code) if code == 0 || code == -ENODEV => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::other("rtnetlink gave a short answer")),
    }
}
