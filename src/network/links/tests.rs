use super::*;
use crate::network::netns;

/// Made by hand, and gone at the end.
struct Made(String);

impl Made {
    fn new() -> Self {
        let name = format!("rkt{}", std::process::id());
        let made = Self(name.clone());
        netns::create(&name).unwrap();
        made.ip(&["link", "add", &name, "type", "bridge"]);
        made
    }

    #[allow(clippy::disallowed_methods, reason = "a test's program")]
    fn ip(&self, words: &[&str]) {
        let said = std::process::Command::new("ip")
            .args(words)
            .output()
            .unwrap();
        assert!(said.status.success(), "{words:?}: {said:?}");
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = delete(&self.0);
        let _ = netns::delete(&self.0);
    }
}

#[test]
fn a_bridges_ports_are_told_with_the_namespace_behind_each() {
    let made = Made::new();
    let (name, link) = (&made.0, format!("v{}", made.0));
    assert_eq!(ports(name).unwrap(), []);
    made.ip(&[
        "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name,
    ]);
    assert_eq!(ports(name).unwrap(), [], "it is no port yet");
    made.ip(&["link", "set", &link, "master", name]);
    let behind = number_of(&netns::path(name));
    assert!(behind.is_some());
    let port = Port { name: link, behind };
    assert_eq!(ports(name).unwrap(), [port]);
    assert_eq!(number_of(Path::new("/proc/self/status")), None);
    assert_eq!(ports("no-such-bridge").unwrap(), []);
    delete(name).unwrap();
    delete(name).unwrap();
    assert_eq!(ports(name).unwrap(), []);
}
