use super::*;

/// As bridge and portmap 1.1.1 left them for network "net-exp" and container "abc", with another
/// container's and another network's beside.
const RULES: &str = r#"*nat
:PREROUTING ACCEPT [0:0]
:CNI-41094e3ba5865a157b7b2876 - [0:0]
:CNI-DN-41094e3ba5865a157b7b2 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:FOREIGN - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.99.7.2/32 -m comment --comment "name: \"net-exp\" id: \"abc\"" -j CNI-41094e3ba5865a157b7b2876
-A POSTROUTING -s 10.99.7.3/32 -m comment --comment "name: \"other\" id: \"abd\"" -j FOREIGN
-A CNI-41094e3ba5865a157b7b2876 -d 10.99.7.0/24 -m comment --comment "name: \"net-exp\" id: \"abc\"" -j ACCEPT
-A CNI-DN-41094e3ba5865a157b7b2 -p tcp -m tcp --dport 18099 -j DNAT --to-destination 10.99.7.2:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net-exp\" id: \"abc\"" -m multiport --dports 18099 -j CNI-DN-41094e3ba5865a157b7b2
COMMIT
"#;

#[test]
fn exactly_what_names_the_network_and_the_sandbox_is_removed() {
    assert_eq!(
        removal(RULES, "net-exp", "abc").unwrap(),
        r#"*nat
-D POSTROUTING -s 10.99.7.2/32 -m comment --comment "name: \"net-exp\" id: \"abc\"" -j CNI-41094e3ba5865a157b7b2876
-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net-exp\" id: \"abc\"" -m multiport --dports 18099 -j CNI-DN-41094e3ba5865a157b7b2
-F CNI-41094e3ba5865a157b7b2876
-F CNI-DN-41094e3ba5865a157b7b2
-X CNI-41094e3ba5865a157b7b2876
-X CNI-DN-41094e3ba5865a157b7b2
COMMIT
"#
    );
    assert_eq!(removal(RULES, "net-exp", "abd"), None);
    assert_eq!(removal(RULES, "other", "abc"), None);
}

#[test]
fn the_sandboxes_of_a_network_are_told_by_its_rules() {
    assert_eq!(ids(RULES, "net-exp"), BTreeSet::from(["abc".to_owned()]));
    assert_eq!(ids(RULES, "other"), BTreeSet::from(["abd".to_owned()]));
    assert!(ids(RULES, "net").is_empty());
}

#[test]
fn every_trace_of_a_sandbox_is_found_by_its_mark_or_its_chains_name_and_nobody_elses() {
    let found = |known: &[(&str, &str)], ours: &str| {
        let traces = traces(RULES, known.iter().copied(), |network, _| network == ours);
        let short = traces.iter().map(|t| {
            let first = t.words.split(' ').next().unwrap();
            (t.id.clone(), t.is_chain, first.to_owned())
        });
        short.collect::<Vec<_>>()
    };
    let all = [
        (true, "CNI-41094e3ba5865a157b7b2876"),
        (true, "CNI-DN-41094e3ba5865a157b7b2"),
        (false, "POSTROUTING"),
        (false, "CNI-HOSTPORT-DNAT"),
    ];
    let all = all.map(|(is_chain, first)| ("abc".to_owned(), is_chain, first.to_owned()));
    assert_eq!(found(&[], "net-exp"), all);
    assert_eq!(found(&[("net-exp", "abc")], "none"), all);
    assert_eq!(found(&[("net-exp", "abd")], "none"), []);
    let other = ("abd".to_owned(), false, "POSTROUTING".to_owned());
    assert_eq!(found(&[], "other"), [other]);
}
