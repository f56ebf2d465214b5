//! The shapes of names and paths.

/// An RFC 1123 label, but for capitals and the characters in `more`.
pub(super) fn label_like(text: &str, more: &[char]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text
            .chars()
            .all(|c| plain(c) || c == '-' || more.contains(&c))
        && text.starts_with(plain)
        && text.ends_with(plain)
}

/// An RFC 1123 label.
pub(super) fn label(text: &str) -> bool {
    label_like(text, &[]) && !text.contains(|c: char| c.is_ascii_uppercase())
}

/// Names with dots between: RFC 1123, but for capitals and `_`.
pub(super) fn domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(|part| label_like(part, &['_']))
}

/// What a variable of the environment may be called.
pub(super) fn env_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty()
        && name.len() <= 4096
        && name.chars().all(allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// What a key of a ConfigMap or Secret may be called; it may become a file's name.
pub(super) fn key(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=253).contains(&name.len())
        && name.chars().all(allowed)
        && name != "."
        && !name.starts_with("..")
}

/// The longest path: PATH_MAX with its NUL.
const MAX_PATH: usize = 4095;

fn plain_parts(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.contains('\0')
        && path
            .split('/')
            .all(|part| part != ".." && part.len() <= 255)
}

/// An absolute path that can't lead out of where it is.
pub(super) fn absolute(path: &str) -> bool {
    path.starts_with('/') && plain_parts(path)
}

/// A relative path that can't lead out of where it is.
pub(super) fn relative(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && plain_parts(path)
}

/// A path without what says nothing in it: `//`, `/./`, a `/` at its end.
pub(super) fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let start = if path.starts_with('/') { "/" } else { "" };
    format!("{start}{}", parts.join("/"))
}

pub(super) const ABSOLUTE: &str = "must be an absolute path without '..', of at most 4095 bytes";
pub(super) const RELATIVE: &str = "must be a relative path without '..', of at most 4095 bytes";
