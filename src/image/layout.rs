//! Reads what skopeo copied: an OCI layout whose blobs lie in the shared blob directory.
//!
//! Why: nothing of an image is believed before its hash is. Owns: the check of manifest and
//! config against their digests, the check of the platform, and the re-hashing of blobs after an
//! unpack failed. In: directories. Out: [`Contents`]. Must never happen here: a path built from a
//! foreign text (only from a parsed [`Digest`]), or reading a file of any size into memory.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use sha2::Digest as _;

use super::reference::Digest;

/// Manifests and configs above this size are refused; registries refuse them at 4 MiB already.
const MAX_DOCUMENT: u64 = 8 << 20;

/// The name under which skopeo writes the image into its layout, and umoci finds it.
pub(super) const NAME: &str = "img";

/// Why a layout isn't an image that can run here.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// A blob that should be there isn't, or isn't what its name says; a second fetch may mend it.
    #[error("the blob {digest} is not what its name says")]
    BadBlob { digest: Digest },
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The documents don't describe an image.
    #[error("{0}")]
    NoImage(String),
    /// Built for another machine.
    #[error("it is built for {0}")]
    OtherPlatform(String),
}

/// A checked image in a layout.
#[derive(Debug)]
pub(super) struct Contents {
    /// Of the manifest in the layout; differs from the registry's where skopeo converted it.
    pub(super) manifest: Digest,
    /// Of the config; names the snapshot.
    pub(super) config: Digest,
    /// The config's bytes, whose hash is `config`.
    pub(super) config_bytes: Vec<u8>,
    /// The config, parsed.
    pub(super) parsed: ImageConfiguration,
    /// Every blob of the image: manifest, config, layers.
    pub(super) blobs: Vec<Digest>,
}

/// `os/architecture` of this machine, in Go's words.
pub(super) fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        same => same,
    };
    format!("linux/{architecture}")
}

/// Does an image for `os/architecture` run here? One that doesn't say does, as with docker.
pub(super) fn runs_here(found: &str) -> bool {
    found == platform() || matches!(found, "/" | "linux/")
}

/// Where `digest` lies in a blob directory.
pub(super) fn blob_path(blobs: &Path, digest: &Digest) -> PathBuf {
    blobs.join("sha256").join(digest.hex())
}

/// Replaces the layout's empty `blobs` directory by a link to the shared one: umoci knows nothing
/// of shared directories, but follows the link.
pub(super) fn share_blobs(layout: &Path, blobs: &Path) -> io::Result<()> {
    let own = layout.join("blobs");
    match fs::remove_dir(&own) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::os::unix::fs::symlink(blobs, own)
}

/// Reads and checks the image in `layout`.
pub(super) fn read(layout: &Path, blobs: &Path) -> Result<Contents, LayoutError> {
    let no_image = |what: &str| LayoutError::NoImage(what.to_owned());
    let index = document(&layout.join("index.json"))?;
    let index = ImageIndex::from_reader(index.as_slice())
        .map_err(|e| LayoutError::NoImage(format!("its index is malformed: {e}")))?;
    let [entry] = index.manifests().as_slice() else {
        return Err(no_image("its layout doesn't hold exactly one image"));
    };
    let manifest_digest = ours(entry.digest())?;
    let manifest = checked(blobs, &manifest_digest)?;
    let manifest = ImageManifest::from_reader(manifest.as_slice())
        .map_err(|e| LayoutError::NoImage(format!("its manifest is malformed: {e}")))?;
    let config_digest = ours(manifest.config().digest())?;
    let config_bytes = checked(blobs, &config_digest)?;
    let parsed = parse_config(&config_bytes)?;
    let mut all = vec![manifest_digest.clone(), config_digest.clone()];
    for layer in manifest.layers() {
        all.push(ours(layer.digest())?);
    }
    Ok(Contents {
        manifest: manifest_digest,
        config: config_digest,
        config_bytes,
        parsed,
        blobs: all,
    })
}

/// Parses a config, and refuses one for another platform.
pub(super) fn parse_config(bytes: &[u8]) -> Result<ImageConfiguration, LayoutError> {
    let config = ImageConfiguration::from_reader(bytes)
        .map_err(|e| LayoutError::NoImage(format!("its config is malformed: {e}")))?;
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    let found = format!("{os}/{architecture}");
    if runs_here(&found) {
        Ok(config)
    } else {
        Err(LayoutError::OtherPlatform(found))
    }
}

/// Re-hashes blobs and removes those that aren't what their names say; they are returned.
/// skopeo takes a blob that is there for a good one, whatever is in it.
pub(super) fn drop_bad_blobs(blobs: &Path, digests: &[Digest]) -> io::Result<Vec<Digest>> {
    let mut bad = Vec::new();
    for digest in digests {
        let path = blob_path(blobs, digest);
        match hash_file(&path) {
            Ok(found) if found == *digest => continue,
            Ok(_) => fs::remove_file(&path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        bad.push(digest.clone());
    }
    Ok(bad)
}

fn hash_file(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut sum = sha2::Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_sum(&sum.finalize())),
            n => sum.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

fn ours(digest: &oci_spec::image::Digest) -> Result<Digest, LayoutError> {
    let text = digest.to_string();
    text.parse()
        .map_err(|_| LayoutError::NoImage(format!("it names {text:?}, which is no SHA-256")))
}

fn checked(blobs: &Path, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
    let bytes = match document(&blob_path(blobs, digest)) {
        Err(LayoutError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Vec::new()
        }
        other => other?,
    };
    if Digest::of(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(LayoutError::BadBlob {
            digest: digest.clone(),
        })
    }
}

fn document(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|f| f.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes));
    match read {
        Ok(n) if n as u64 > MAX_DOCUMENT => Err(LayoutError::NoImage(format!(
            "a document of it has more than {MAX_DOCUMENT} bytes"
        ))),
        Ok(_) => Ok(bytes),
        Err(source) => Err(LayoutError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}
