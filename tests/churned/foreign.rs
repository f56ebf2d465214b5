//! Things of others on the machine, to be found as they were: a network namespace that looks like
//! one of riklet's, and a chain of the firewall with a rule that looks like CNI's.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

/// What others have; taken away at the end, also of a test that failed.
pub struct Foreign {
    netns: String,
    chain: String,
    /// How it looked once it was made.
    before: Vec<String>,
}

impl Foreign {
    pub fn make() -> Self {
        let pid = std::process::id();
        let mut foreign = Self {
            netns: format!("rk-foreign{pid}"),
            chain: format!("CNI-foreign{pid}"),
            before: Vec::new(),
        };
        let Self { netns, chain, .. } = &foreign;
        run(&format!(
            "ip netns add {netns} &&
             ip -n {netns} link set lo up &&
             iptables -w -t nat -N {chain} &&
             iptables -w -t nat -A {chain} -s 198.19.7.9/32 -m comment \
                 --comment 'name: \"foreign\" id: \"foreign{pid}\"' -j RETURN"
        ))
        .unwrap();
        foreign.before = foreign.look().unwrap();
        foreign
    }

    /// The namespace's inode and links, and the chain's rules.
    fn look(&self) -> Result<Vec<String>, String> {
        let Self { netns, chain, .. } = self;
        let pin = fs::metadata(format!("/run/netns/{netns}")).map_err(|e| e.to_string())?;
        Ok(vec![
            pin.ino().to_string(),
            run(&format!("ip -n {netns} -o link"))?,
            run(&format!("iptables -w -t nat -S {chain}"))?,
        ])
    }

    /// What isn't as it was.
    pub fn harm(&self) -> Vec<String> {
        match self.look() {
            Ok(now) if now == self.before => Vec::new(),
            now => vec![format!("foreign: {:?} became {now:?}", self.before)],
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let Self { netns, chain, .. } = self;
        let _ = run(&format!(
            "ip netns del {netns}; iptables -w -t nat -F {chain}; iptables -w -t nat -X {chain}"
        ));
    }
}

fn run(text: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", text]).output();
    let output = output.map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{text}: {output:?}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
