//! The rows of the table of fields.

mod container;
mod lifecycle;
mod pod;
mod security;
mod volume;

use super::fields::Object;

pub(super) use self::{
    container::{
        AMOUNTS, CONFIG_MAP_ENV, CONTAINER, ENV, ENV_FROM, FIELD_REF, INIT_CONTAINER, KEY_REF,
        PORT, RESOURCE_FIELD_REF, RESOURCES, VALUE_FROM,
    },
    lifecycle::{
        EXEC, GRPC, HEADER, HOOK, HTTP_GET, LIFECYCLE, PROBE, READINESS_PROBE, SLEEP, TCP_SOCKET,
    },
    pod::{
        CONFIG_MAP_DOCUMENT, DNS_CONFIG, DNS_OPTION, HOST_ALIAS, LIST, METADATA, OS, POD,
        SECRET_DOCUMENT, SPEC,
    },
    security::{CAPABILITIES, CONTAINER_SECURITY, POD_SECURITY, SECCOMP, SYSCTL},
    volume::{
        CONFIG_MAP, DOWNWARD, DOWNWARD_ITEM, EMPTY_DIR, HOST_PATH, ITEM, PROJECTED,
        PROJECTED_CONFIG_MAP, PROJECTED_DOWNWARD, PROJECTED_SECRET, PROJECTION, SECRET, VOLUME,
        VOLUME_MOUNT,
    },
};

/// Every object of a definition, in the order of the page.
pub const OBJECTS: &[&Object] = &[
    &POD,
    &METADATA,
    &SPEC,
    &DNS_CONFIG,
    &DNS_OPTION,
    &HOST_ALIAS,
    &OS,
    &POD_SECURITY,
    &SYSCTL,
    &CONTAINER,
    &INIT_CONTAINER,
    &ENV,
    &VALUE_FROM,
    &FIELD_REF,
    &RESOURCE_FIELD_REF,
    &KEY_REF,
    &ENV_FROM,
    &CONFIG_MAP_ENV,
    &PORT,
    &RESOURCES,
    &AMOUNTS,
    &VOLUME_MOUNT,
    &PROBE,
    &READINESS_PROBE,
    &EXEC,
    &HTTP_GET,
    &HEADER,
    &TCP_SOCKET,
    &GRPC,
    &LIFECYCLE,
    &HOOK,
    &SLEEP,
    &CONTAINER_SECURITY,
    &CAPABILITIES,
    &SECCOMP,
    &VOLUME,
    &EMPTY_DIR,
    &HOST_PATH,
    &CONFIG_MAP,
    &SECRET,
    &ITEM,
    &PROJECTED,
    &PROJECTION,
    &PROJECTED_CONFIG_MAP,
    &PROJECTED_SECRET,
    &PROJECTED_DOWNWARD,
    &DOWNWARD,
    &DOWNWARD_ITEM,
    &CONFIG_MAP_DOCUMENT,
    &SECRET_DOCUMENT,
];
