use serde_json::json;

use super::*;

const LIST: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[
    {"type":"bridge","ipam":{"type":"host-local"}},
    {"type":"portmap","capabilities":{"portMappings":true}}]}"#;

fn told(list: &ConfigList, n: usize, ports: &Value, former: Option<&Value>) -> Value {
    let plugin = list.plugins().nth(n).unwrap();
    serde_json::from_slice(&list.told(plugin, ports, former)).unwrap()
}

#[test]
fn a_plugin_is_told_its_part_the_ports_it_can_map_and_the_former_result() {
    let list = ConfigList::parse(LIST).unwrap();
    let ports = port_mappings(&[Port {
        host: 8080,
        container: 80,
        protocol: "TCP".into(),
        name: None,
        host_ip: Some("127.0.0.1".parse().unwrap()),
    }]);
    let former = json!({"cniVersion": "1.0.0"});
    assert_eq!(
        told(&list, 0, &ports, None),
        json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge",
               "ipam": {"type": "host-local"}})
    );
    assert_eq!(
        told(&list, 1, &ports, Some(&former)),
        json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap",
               "runtimeConfig": {"portMappings": [
                   {"hostPort": 8080, "containerPort": 80, "protocol": "tcp",
                    "hostIP": "127.0.0.1"}]},
               "prevResult": {"cniVersion": "1.0.0"}})
    );
    let without = told(&list, 1, &port_mappings(&[]), None);
    assert!(without.get("runtimeConfig").is_none(), "{without}");
    let programs: Vec<_> = list.programs().collect();
    assert_eq!(programs, ["bridge", "host-local", "portmap"]);
}

#[test]
fn a_list_that_cannot_be_used_is_refused_with_the_reason() {
    let too_old = LIST.replace("1.0.0", "0.2.0");
    let path = LIST.replace("\"bridge\"", "\"../../bin/sh\"");
    let name = LIST.replace("\"net\"", "\"../net\"");
    for (text, says) in [
        ("", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        (&too_old, "0.2.0"),
        (&path, "plain `type`"),
        (&name, "plain `name`"),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#,
            "`plugins`",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":7}"#,
            "`plugins`",
        ),
        (r#"{"cniVersion":"1.0.0","name":"n"}"#, "`type`"),
    ] {
        let error = ConfigList::parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    // A single plugin's configuration is a list of one.
    let one = ConfigList::parse(r#"{"cniVersion":"0.3.1","name":"n","type":"ptp"}"#).unwrap();
    assert_eq!(one.plugins().next().unwrap().kind(), "ptp");
    assert!(!one.can_check() && !one.passes_result_to_del());
}

#[test]
fn the_first_list_of_a_directory_counts_and_a_broken_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let load = || ConfigList::load(dir.path());
    assert!(matches!(load(), Err(ListError::None(_))));
    std::fs::write(dir.path().join("20-b.conflist"), "{").unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("20-b.conflist"), "{error}");
    std::fs::write(dir.path().join("10-a.conflist"), LIST).unwrap();
    std::fs::write(dir.path().join("00-readme.txt"), "hello").unwrap();
    assert_eq!(load().unwrap().1.name(), "net");
}

#[test]
fn only_the_addresses_inside_are_the_sandboxs() {
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
        "ips": [
            {"interface": 0, "address": "10.0.0.1/24"},
            {"interface": 1, "address": "10.0.0.7/24"},
            {"interface": 9, "address": "10.0.0.8/24"},
            {"address": "fd00::7/64"},
            {"address": "nonsense"},
        ],
    });
    let shown: Vec<_> = addresses(&result).iter().map(|a| a.to_string()).collect();
    assert_eq!(shown, ["10.0.0.7", "fd00::7"]);
    assert!(addresses(&Value::Null).is_empty());
}

#[test]
fn an_error_answer_becomes_one_bounded_line() {
    let said = br#"{"cniVersion":"1.0.0","code":11,"msg":"try\nagain","details":"later"}"#;
    assert_eq!(answer::error(said), Some((11, "try again: later".into())));
    let long = json!({"code": 7, "msg": "x".repeat(9_000)}).to_string();
    assert_eq!(answer::error(long.as_bytes()).unwrap().1.len(), 500);
    assert_eq!(answer::error(b"killed"), None);
    assert_eq!(answer::result(b"{}"), None);
}

#[test]
fn a_lists_addresses_lie_where_host_local_keeps_them() {
    let dir = |ipam: &str| {
        let text = format!(
            r#"{{"cniVersion":"1.0.0","name":"n","plugins":[{{"type":"bridge"{ipam}}},{{"type":"portmap"}}]}}"#
        );
        ConfigList::parse(&text).unwrap().addresses_dir()
    };
    let own = r#","ipam":{"type":"host-local","dataDir":"/run/own"}"#;
    assert_eq!(dir(own), Some("/run/own/n".into()));
    let default = r#","ipam":{"type":"host-local"}"#;
    assert_eq!(dir(default), Some("/var/lib/cni/networks/n".into()));
    assert_eq!(dir(r#","ipam":{"type":"dhcp"}"#), None);
    assert_eq!(dir(""), None);
}
