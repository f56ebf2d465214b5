use super::*;
use crate::model::spec::HostAlias;

fn dns(servers: &[&str], own_only: bool) -> Dns {
    Dns {
        own_only,
        servers: servers.iter().map(|s| s.parse().unwrap()).collect(),
        searches: vec!["svc.local".into()],
        options: vec![("ndots".into(), Some("5".into())), ("edns0".into(), None)],
    }
}

#[test]
fn the_definitions_servers_come_after_the_nodes() {
    let node = "# a comment\nsearch example.org\nnameserver 10.0.0.1 # inline\noptions ndots:2\n";
    let text = compose(node, "", false, &dns(&["10.0.0.9", "10.0.0.1"], false));
    assert_eq!(
        text,
        "nameserver 10.0.0.1\nnameserver 10.0.0.9\nsearch example.org svc.local\n\
         options ndots:5 edns0\n"
    );
    let text = compose(node, "", false, &dns(&["10.0.0.9"], true));
    assert_eq!(
        text,
        "nameserver 10.0.0.9\nsearch svc.local\noptions ndots:5 edns0\n"
    );
}

#[test]
fn a_server_on_the_nodes_loopback_is_replaced_or_left_out_with_a_word() {
    let node = "nameserver 127.0.0.53\nsearch lan\n";
    let resolved = "nameserver 192.0.2.7\nnameserver ::1\n";
    let plain = Dns::default();
    assert_eq!(
        compose(node, resolved, false, &plain),
        "nameserver 192.0.2.7\nsearch lan\n"
    );
    let text = compose(node, "", false, &plain);
    assert!(
        text.starts_with("# riklet: 127.0.0.53 is on the node's loopback"),
        "{text}"
    );
    assert!(!text.contains("\nnameserver"), "{text}");
    // On the node's own network it can be asked.
    assert!(compose(node, "", true, &plain).contains("nameserver 127.0.0.53\n"));
    // One of several is left out silently.
    let text = compose(
        "nameserver ::1\nnameserver 192.0.2.1\n",
        resolved,
        false,
        &plain,
    );
    assert_eq!(text, "nameserver 192.0.2.1\n");
}

#[test]
fn hosts_name_the_sandboxs_addresses_and_the_definitions_aliases() {
    let workload = WorkloadSpec {
        host_aliases: vec![HostAlias {
            ip: "192.0.2.9".parse().unwrap(),
            names: vec!["db".into(), "evil\n6.6.6.6 bank".into()],
        }],
        ..WorkloadSpec::default()
    };
    let addresses = ["10.88.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    let mut names = Names {
        hostname: "web-1",
        addresses: &addresses,
        workload: &workload,
    };
    let text = hosts(&names, "");
    assert!(
        text.contains("\n10.88.0.2\tweb-1\nfd00::2\tweb-1\n"),
        "{text}"
    );
    assert!(text.ends_with("192.0.2.9\tdb evil6.6.6.6bank\n"), "{text}");
    names.addresses = &[];
    assert!(hosts(&names, "").contains("\n127.0.1.1\tweb-1\n"));
    let on_host = WorkloadSpec {
        host_network: true,
        ..workload.clone()
    };
    names.workload = &on_host;
    let text = hosts(&names, "127.0.0.1 localhost node-7\n\n");
    assert_eq!(
        text,
        "127.0.0.1 localhost node-7\n192.0.2.9\tdb evil6.6.6.6bank\n"
    );
}
