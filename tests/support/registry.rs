//! Registries for tests, all on loopback: a real one, one that stalls, and a port where none is.
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
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

const BOUND: Duration = Duration::from_secs(20);

/// Debian's docker-registry on a free port, its files in a directory of its own. It ends with this
/// value, and also if the test is killed: its shell reads the end of our pipe.
pub struct Registry {
    shell: Child,
    port: u16,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one and waits until it listens.
    pub fn start() -> Self {
        Self::configured("", false)
    }

    /// The same, with user and password `riklet`/`secret`.
    pub fn with_password() -> Self {
        Self::configured("auth: {htpasswd: {realm: test, path: htpasswd}}\n", false)
    }

    /// The same over TLS, with a certificate of its own for 127.0.0.1.
    pub fn with_tls() -> Self {
        Self::configured("", true)
    }

    /// The certificate of [`with_tls`](Self::with_tls).
    pub fn certificate(&self) -> PathBuf {
        self._dir.path().join("cert.pem")
    }

    fn configured(more: &str, tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, log) = (dir.path().join("config.yml"), dir.path().join("log"));
        if tls {
            make_certificate(dir.path());
        }
        let tls = match tls {
            true => ", tls: {certificate: cert.pem, key: key.pem}",
            false => "",
        };
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\n{more}\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"{tls}}}\n",
            dir.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        // bcrypt of "secret", cost 4.
        let user = "riklet:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
        fs::write(dir.path().join("htpasswd"), user).unwrap();
        let script = r#"docker-registry serve "$1" >"$2" 2>&1 & p=$!; read _; kill -9 $p; wait"#;
        let shell = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args([&config, &log])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let port = wait_for("docker-registry to listen", || {
            let said = fs::read_to_string(&log).ok()?;
            let (_, after) = said.split_once("listening on 127.0.0.1:")?;
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            let whole = after.len() > digits.len();
            whole.then(|| digits.parse().ok()).flatten()
        });
        Self {
            shell,
            port,
            log,
            _dir: dir,
        }
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:<port>/<rest>`.
    pub fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address())
    }

    /// How many requests of this method had a path with this text.
    pub fn hits(&self, method: &str, path: &str) -> usize {
        let start = format!("\"{method} /v2/");
        let said = fs::read_to_string(&self.log).unwrap();
        let hit = |line: &&str| {
            let request = line.split_once(&start).map(|(_, rest)| rest);
            let path_of = request.and_then(|r| r.split(' ').next());
            path_of.is_some_and(|p| p.contains(path))
        };
        said.lines().filter(hit).count()
    }
}

impl Registry {
    /// Puts a list (an OCI index) of manifests that are there under `name:tag`: digest, size in
    /// bytes, architecture. Returns the list's digest.
    pub fn put_list(&self, name: &str, tag: &str, entries: &[(&str, usize, &str)]) -> String {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let manifests: Vec<_> = entries
            .iter()
            .map(|(digest, size, architecture)| {
                serde_json::json!({
                    "mediaType": manifest, "digest": digest, "size": size,
                    "platform": { "os": "linux", "architecture": architecture },
                })
            })
            .collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let list = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "manifests": manifests,
        });
        let path = format!("/v2/{name}/manifests/{tag}");
        let answer = self.request("PUT", &path, kind, &list.to_string());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        header(&answer, "Docker-Content-Digest").unwrap()
    }

    /// Puts the image `name:from` under another tag with a mark in its config: another image of
    /// the same layers.
    pub fn put_variant(&self, name: &str, from: &str, tag: &str) {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let get = |path: String| -> serde_json::Value {
            let answer = self.request("GET", &path, kind, "");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            serde_json::from_str(body).unwrap()
        };
        let mut manifest = get(format!("/v2/{name}/manifests/{from}"));
        let config = manifest["config"]["digest"].as_str().unwrap();
        let mut config = get(format!("/v2/{name}/blobs/{config}"));
        config["config"]["Labels"] = serde_json::json!({ "riklet.test": tag });
        let config = config.to_string();
        let hex = data_encoding::HEXLOWER.encode(&Sha256::digest(config.as_bytes()));
        let digest = format!("sha256:{hex}");
        self.put_blob(name, &digest, &config);
        manifest["config"]["digest"] = digest.into();
        manifest["config"]["size"] = config.len().into();
        let path = format!("/v2/{name}/manifests/{tag}");
        let answer = self.request("PUT", &path, kind, &manifest.to_string());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn put_blob(&self, name: &str, digest: &str, bytes: &str) {
        let kind = "application/octet-stream";
        let answer = self.request("POST", &format!("/v2/{name}/blobs/uploads/"), kind, "");
        let place = header(&answer, "Location").unwrap();
        let path = place
            .split_once(&self.address())
            .map_or(&*place, |(_, path)| path);
        let answer = self.request("PUT", &format!("{path}&digest={digest}"), kind, bytes);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// The size of a manifest.
    pub fn manifest_size(&self, name: &str, digest: &str) -> usize {
        let path = format!("/v2/{name}/manifests/{digest}");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let answer = self.request("HEAD", &path, kind, "");
        header(&answer, "Content-Length").unwrap().parse().unwrap()
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: {kind}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.address(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn header(answer: &str, name: &str) -> Option<String> {
    let lines = answer.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim().to_owned())
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Beside riklet's reaper this says ECHILD at once; the shell ends all the same.
        let _ = self.shell.wait();
    }
}

/// A key and a certificate that it signs itself, for 127.0.0.1.
fn make_certificate(dir: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                  -keyout key.pem -out cert.pem -subj /CN=127.0.0.1 \
                  -addext subjectAltName=IP:127.0.0.1 2>/dev/null";
    let _ = Command::new("/bin/sh")
        .args(["-c", script])
        .current_dir(dir)
        .status();
    assert!(dir.join("cert.pem").exists(), "openssl made no certificate");
}

/// A port on loopback where nothing listens: `127.0.0.1:<port>`.
pub fn dead_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What of an answer trickles, a byte at each `pace`, and stops for ever after some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trickle {
    /// The manifest.
    Manifest,
    /// The layers.
    Layers,
}

/// A registry that serves one layout, but sends part of it a byte at a time and then nothing,
/// with the connection open.
pub struct StallingRegistry {
    port: u16,
    ended: Arc<AtomicBool>,
    trickled: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Served {
    layout: PathBuf,
    trickle: Trickle,
    bytes: usize,
    pace: Duration,
    ended: Arc<AtomicBool>,
    trickled: Arc<AtomicUsize>,
}

impl StallingRegistry {
    /// Serves the image of `layout` under every name and tag. Of the trickled answer `bytes` come,
    /// one at each `pace`.
    pub fn start(layout: &Path, trickle: Trickle, bytes: usize, pace: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Served {
            layout: layout.to_owned(),
            trickle,
            bytes,
            pace,
            ended: Arc::default(),
            trickled: Arc::default(),
        };
        let (ended, trickled) = (Arc::clone(&served.ended), Arc::clone(&served.trickled));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.ended.load(Ordering::SeqCst) {
                    return;
                }
                let served = served.clone();
                thread::spawn(move || served.answer(stream));
            }
        });
        Self {
            port,
            ended,
            trickled,
        }
    }

    /// `127.0.0.1:<port>/<rest>`.
    pub fn image(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// How many bytes have trickled so far.
    pub fn trickled(&self) -> usize {
        self.trickled.load(Ordering::SeqCst)
    }
}

impl Drop for StallingRegistry {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Served {
    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = [0; 1];
        if reader.read_exact(&mut first).is_err() {
            return;
        }
        if !matches!(&first, b"G" | b"H") {
            // TLS: what Go's servers say to it, and what makes skopeo fall back to HTTP.
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nspeak HTTP\n");
            return;
        }
        let mut head = String::from_utf8_lossy(&first).into_owned();
        while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
        let path = head.split(' ').nth(1).unwrap_or_default();
        let slow = match (self.trickle, path) {
            (Trickle::Manifest, p) => p.contains("/manifests/"),
            (Trickle::Layers, p) => p.contains("/blobs/") && !self.is_config(p),
        };
        let (kind, body) = self.body(path);
        let head_of_answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head_of_answer.as_bytes());
        if head.starts_with("HEAD") {
            return;
        }
        if !slow {
            let _ = stream.write_all(&body);
            return;
        }
        for byte in body.iter().take(self.bytes) {
            if self.ended.load(Ordering::SeqCst) || stream.write_all(&[*byte]).is_err() {
                return;
            }
            self.trickled.fetch_add(1, Ordering::SeqCst);
            // Its pace is what this registry is for.
            thread::park_timeout(self.pace);
        }
        // And then nothing, until the other side gives up.
        let _ = stream.read(&mut [0; 1]);
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.rsplit(':').next().unwrap_or_default();
        fs::read(self.layout.join("blobs/sha256").join(hex)).unwrap_or_default()
    }

    fn manifest(&self) -> Vec<u8> {
        let index = fs::read_to_string(self.layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        self.blob(index["manifests"][0]["digest"].as_str().unwrap())
    }

    fn is_config(&self, path: &str) -> bool {
        let manifest: serde_json::Value = serde_json::from_slice(&self.manifest()).unwrap();
        path.ends_with(manifest["config"]["digest"].as_str().unwrap())
    }

    fn body(&self, path: &str) -> (&'static str, Vec<u8>) {
        if path.contains("/manifests/") {
            (
                "application/vnd.oci.image.manifest.v1+json",
                self.manifest(),
            )
        } else if let Some((_, digest)) = path.split_once("/blobs/") {
            ("application/octet-stream", self.blob(digest))
        } else {
            ("application/json", b"{}".to_vec())
        }
    }
}

/// Waits until `look` finds something; panics after a while.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "waited {BOUND:?} for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
