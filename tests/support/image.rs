//! Makes images without a network: busybox in an OCI layout, pushed to a test registry.
//!
//! Used as `mod support { pub mod image; }` by the tests that need one. Programs are run so that
//! it works beside riklet's reaper, which reads the exit status of every child of the process.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's programs are not riklet's children"
)]

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

/// What `/bin` of the image has besides busybox itself.
pub const APPLETS: &[&str] = &[
    "sh", "sleep", "echo", "cat", "httpd", "ls", "true", "false", "env", "id", "kill", "ps", "nc",
    "wget", "head", "tail", "seq", "date", "mkdir", "rm", "touch", "test", "hostname", "mount",
    "stat", "tr", "wc", "yes", "dd", "printf", "pwd", "readlink", "find", "grep", "sed",
];

/// An image to be made.
#[derive(Debug, Clone)]
pub struct Image {
    /// Go's word for the architecture.
    pub architecture: String,
    /// The config's Entrypoint.
    pub entrypoint: Vec<String>,
    /// The config's Cmd.
    pub cmd: Vec<String>,
    /// The config's Env.
    pub env: Vec<String>,
    /// The config's User.
    pub user: Option<String>,
    /// The config's WorkingDir.
    pub working_dir: Option<String>,
    /// More files, by path without a leading slash.
    pub files: Vec<(String, Vec<u8>)>,
    /// More programs, likewise.
    pub programs: Vec<(String, Vec<u8>)>,
}

impl Default for Image {
    fn default() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            entrypoint: Vec::new(),
            cmd: vec!["/bin/sh".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            user: None,
            working_dir: None,
            files: Vec::new(),
            programs: Vec::new(),
        }
    }
}

impl Image {
    /// One that differs from others by a file with this text.
    pub fn marked(text: &str) -> Self {
        Self::default().file("mark", text.as_bytes())
    }

    /// With one more file.
    pub fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// With one more program.
    pub fn program(mut self, path: &str, bytes: &[u8]) -> Self {
        self.programs.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// With this command.
    pub fn cmd(mut self, words: &[&str]) -> Self {
        self.cmd = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    /// For that architecture.
    pub fn architecture(mut self, name: &str) -> Self {
        name.clone_into(&mut self.architecture);
        self
    }

    /// Writes it as an OCI layout with the tag `img` into `dir`, which is made. Two layers: busybox,
    /// which all images share, and this one's files. Returns the manifest's digest.
    pub fn write(&self, dir: &Path) -> String {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        let layers = [busybox_layer(), self.files_layer()];
        let diff_ids: Vec<_> = layers.iter().map(|l| put_blob(dir, l)).collect();
        let config = serde_json::json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.cmd,
                "Env": self.env,
                "User": self.user.clone().unwrap_or_default(),
                "WorkingDir": self.working_dir.clone().unwrap_or_default(),
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{ "created_by": "riklet's tests" }, { "created_by": "riklet's tests" }],
        });
        let config = config.to_string().into_bytes();
        let described = |kind: &str, digest: &str, size: usize| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size })
        };
        let layers: Vec<_> = layers
            .iter()
            .zip(&diff_ids)
            .map(|(l, d)| described("layer.v1.tar", d, l.len()))
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("config.v1+json", &put_blob(dir, &config), config.len()),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = put_blob(dir, &manifest);
        let mut entry = described("manifest.v1+json", &digest, manifest.len());
        entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "img" });
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        digest
    }

    /// Writes it below `scratch` and pushes it to `docker://<target>`, `127.0.0.1:<port>/name:tag`.
    /// Returns the digest that the registry has it by.
    pub fn push(&self, scratch: &Path, target: &str) -> String {
        let name = target.replace(['/', ':', '.'], "_");
        let layout = scratch.join(format!("push-{name}"));
        self.write(&layout);
        push_layout(&layout, target)
    }

    fn files_layer(&self) -> Vec<u8> {
        let mut tar = Tar::default();
        for (path, bytes) in &self.files {
            tar.file(path, 0o644, bytes);
        }
        for (path, bytes) in &self.programs {
            tar.file(path, 0o755, bytes);
        }
        tar.end()
    }
}

/// Pushes the layout's image `img`; returns the registry's digest of it.
pub fn push_layout(layout: &Path, target: &str) -> String {
    let digest_file = layout.with_extension("digest");
    run(&[
        "skopeo".as_ref(),
        "copy".as_ref(),
        "--quiet".as_ref(),
        "--dest-tls-verify=false".as_ref(),
        "--digestfile".as_ref(),
        digest_file.as_os_str(),
        format!("oci:{}:img", layout.display()).as_ref(),
        format!("docker://{target}").as_ref(),
    ]);
    fs::read_to_string(digest_file).unwrap().trim().to_owned()
}

/// Runs a program to its end and returns what it wrote; panics with that if it failed.
pub fn run(words: &[&OsStr]) -> String {
    let mut child = Command::new("/bin/sh")
        .args(["-c", r#""$@" 2>&1; echo "rc=$?""#, "sh"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    // Where riklet's reaper runs it reads the status, and this says ECHILD; elsewhere it reaps.
    let _ = child.wait();
    assert!(said.trim_end().ends_with("rc=0"), "{words:?}: {said}");
    said
}

fn put_blob(dir: &Path, bytes: &[u8]) -> String {
    let hex = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    fs::write(dir.join("blobs/sha256").join(&hex), bytes).unwrap();
    format!("sha256:{hex}")
}

fn busybox_layer() -> Vec<u8> {
    let mut tar = Tar::default();
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "var", "www"] {
        tar.entry(dir, b'5', 0o755, "", &[]);
    }
    tar.entry("tmp", b'5', 0o1777, "", &[]);
    tar.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap());
    for applet in APPLETS {
        tar.entry(&format!("bin/{applet}"), b'2', 0o777, "busybox", &[]);
    }
    tar.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    );
    tar.file("etc/group", 0o644, b"root:x:0:\nnobody:x:65534:\n");
    tar.end()
}

/// A ustar writer: the same bytes each time, so that layers are shared.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.entry(path, b'0', mode, "", bytes);
    }

    fn entry(&mut self, path: &str, kind: u8, mode: u32, link: &str, bytes: &[u8]) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(157, link);
        put(257, "ustar");
        put(263, "00");
        header[156] = kind;
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
