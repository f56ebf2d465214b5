use super::*;

fn node(text: &str) -> NodeUid {
    text.parse().unwrap()
}

#[test]
fn a_subnet_is_whole_and_of_a_useful_size() {
    for good in ["10.88.7.0/24", "10.0.0.0/8", "192.168.1.8/29"] {
        assert_eq!(good.parse::<Subnet>().unwrap().to_string(), good);
    }
    for bad in [
        "10.88.7.1/24",
        "10.88.7.0",
        "10.88.7.0/30",
        "::/64",
        "10.0.0.0/7",
        "x/24",
    ] {
        assert!(bad.parse::<Subnet>().is_err(), "{bad}");
    }
}

#[test]
fn the_chosen_subnet_clashes_with_no_route_gateway_or_name_server() {
    let uid = node("abcdefghjk");
    let free = choose(&uid, &[]);
    let text = free.to_string();
    assert!(text.starts_with("10.") && text.ends_with(".0/24"), "{text}");
    // A route of it, of a part of it, of more than it.
    let hex = |a: u32| format!("{:08X}", a.swap_bytes());
    let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
    for (first, mask) in [
        (free.first, 0xffff_ff00_u32),
        (free.first + 128, 0xffff_ff80),
        (free.first & 0xffff_0000, 0xffff_0000),
    ] {
        let route = format!(
            "{header}eth0 {} 00000000 0001 0 0 0 {} 0 0 0\n",
            hex(first),
            hex(mask)
        );
        let other = choose(&uid, &taken(&route, ""));
        let taken = Subnet {
            first,
            prefix: u8::try_from(mask.count_ones()).unwrap(),
        };
        assert!(!other.overlaps(taken), "{other} {taken}");
    }
    let gateway = format!(
        "{header}eth0 00000000 {} 0003 0 0 0 00000000 0 0 0\n",
        hex(free.first + 1)
    );
    assert_ne!(choose(&uid, &taken(&gateway, "")), free);
    let resolv = format!("nameserver {}\n", Ipv4Addr::from(free.first + 9));
    assert_ne!(choose(&uid, &taken("", &resolv)), free);
    assert_ne!(choose(&node("0123456789"), &[]), free);
}

#[test]
fn the_choice_is_kept_until_the_operator_wishes_another() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("network/riklet.conflist");
    let uid = node("abcdefghjk");
    let text = |wished: Option<&str>| {
        let wished = wished.map(|w| w.parse().unwrap());
        super::text(&uid, wished, &keep, Path::new("/run/x/cni")).unwrap()
    };
    let first = text(Some("10.9.8.0/24"));
    assert_eq!(text(None), first);
    assert_eq!(fs::read_to_string(&keep).unwrap(), first);
    assert!(text(Some("10.9.9.0/24")).contains("10.9.9.0/24"));
    let list = crate::network::cni::ConfigList::parse(&first).unwrap();
    assert_eq!(list.name(), "riklet-abcdefghjk");
    assert_eq!(list.programs().collect::<Vec<_>>(), PLUGINS);
    assert!(bridge(&uid).len() <= 15);
    let bare = crate::network::cni::ConfigList::parse(&without_ports(&first)).unwrap();
    assert_eq!(
        bare.programs().collect::<Vec<_>>(),
        ["bridge", "host-local"]
    );
    fs::write(&keep, "{").unwrap();
    assert!(text(None).contains("riklet-abcdefghjk"));
}
