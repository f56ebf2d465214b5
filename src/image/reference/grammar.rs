//! The grammar of docker's image references. Pure; no input makes it panic.

use super::{
    DOCKER_HUB, LocalImage, MAX_LOCAL, MAX_NAME, MAX_TAG, OFFICIAL, ReferenceError, RegistryImage,
    Transport,
};

pub(super) fn local_image(transport: Transport, place: &str) -> Result<LocalImage, ReferenceError> {
    if place.len() > MAX_LOCAL || place.chars().any(char::is_control) {
        return Err(ReferenceError::Path(cut(place)));
    }
    Ok(LocalImage {
        transport,
        place: place.to_owned(),
    })
}

pub(super) fn registry_image(text: &str) -> Result<RegistryImage, ReferenceError> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    let (host, rest) = split_host(rest);
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    check_host(&host)?;
    check_path(path)?;
    if host == DOCKER_HUB && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ReferenceError::BareId(cut(path)));
    }
    let path = if host == DOCKER_HUB && !path.contains('/') {
        format!("{OFFICIAL}/{path}")
    } else {
        path.to_owned()
    };
    let length = host.len() + 1 + path.len();
    if length > MAX_NAME {
        return Err(ReferenceError::TooLong(length));
    }
    Ok(RegistryImage {
        host,
        path,
        tag: tag.map(ToOwned::to_owned),
        digest,
    })
}

/// The first part is a host if it can't be a part of a path: it has a dot or a port, or is
/// `localhost`, or has upper-case letters.
fn split_host(text: &str) -> (String, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB.to_owned(), rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first.to_owned(), rest)
        }
        _ => (DOCKER_HUB.to_owned(), text),
    }
}

pub(super) fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let name = host_without_port(host);
    let port_ok = match host.get(name.len()..).and_then(|p| p.strip_prefix(':')) {
        Some(port) => port.parse::<u16>().is_ok(),
        None => true,
    };
    let six = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let name_ok = match six {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    if name_ok && port_ok {
        Ok(())
    } else {
        Err(ReferenceError::Host(cut(host)))
    }
}

fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.len() > MAX_NAME {
        return Err(ReferenceError::TooLong(path.len()));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(cut(path)));
    }
    if path.split('/').all(part_ok) {
        Ok(())
    } else {
        Err(ReferenceError::Repository(cut(path)))
    }
}

/// Runs of a-z0-9 joined by one `.`, one or two `_`, or any number of `-`.
fn part_ok(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(word)
        && part.ends_with(word)
        && part
            .split(word)
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let ok = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'));
    if ok {
        Ok(())
    } else {
        Err(ReferenceError::Tag(cut(tag)))
    }
}

/// As much of a foreign text as a one-line message needs.
fn cut(text: &str) -> String {
    const SHOWN: usize = 100;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
