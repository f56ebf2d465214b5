//! A network's configuration list: which plugins, and what each is told.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// Versions of the protocol in which a result has the form that is read here.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// host-local's own choice of a `dataDir`.
const HOST_LOCAL: &str = "/var/lib/cni/networks";

/// Above this a file is no configuration.
const MAX: u64 = 1 << 20;

/// Why a configuration list can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The directory or file can't be read.
    #[error("read the network configuration {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is no configuration in the directory.
    #[error("there is no *.conflist or *.conf in {0}")]
    None(String),
    /// It isn't one.
    #[error("{0}")]
    Form(String),
}

/// One plugin of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin(Map<String, Value>);

impl Plugin {
    /// The program's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.get("type").and_then(Value::as_str).unwrap_or("")
    }

    fn takes(&self, capability: &str) -> bool {
        let capabilities = self.0.get("capabilities");
        capabilities.and_then(|c| c.get(capability)) == Some(&Value::Bool(true))
    }
}

/// A network's configuration list, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigList {
    name: String,
    version: String,
    check: bool,
    plugins: Vec<Plugin>,
}

/// A plain name: it becomes part of paths that plugins make.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
}

impl ConfigList {
    /// Parses a list, or a single plugin's configuration (`*.conf`), which is a list of one.
    ///
    /// # Errors
    /// What about its form is wrong.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let wrong = |what: &str| ListError::Form(format!("a network configuration {what}"));
        let mut whole: Map<String, Value> = serde_json::from_str(text)
            .map_err(|e| wrong(&format!("must be a JSON object: {e}")))?;
        let name = whole.get("name").and_then(Value::as_str).unwrap_or("");
        let name = match is_plain(name) {
            true => name.to_owned(),
            false => return Err(wrong("needs a plain `name`")),
        };
        let version = whole.get("cniVersion").and_then(Value::as_str);
        let version = version.unwrap_or("0.2.0").to_owned();
        if !VERSIONS.contains(&version.as_str()) {
            let known = VERSIONS.join(", ");
            return Err(wrong(&format!(
                "of cniVersion {version:?} can't be used: one of {known}"
            )));
        }
        let check = whole.get("disableCheck") != Some(&Value::Bool(true));
        let plugins = match whole.remove("plugins") {
            Some(Value::Array(plugins)) => plugins,
            None => vec![Value::Object(whole)],
            Some(_) => return Err(wrong("needs a list of `plugins`")),
        };
        let plugins = plugins.into_iter().map(|plugin| match plugin {
            Value::Object(map) if is_plain(map.get("type")?.as_str()?) => Some(Plugin(map)),
            _ => None,
        });
        let plugins: Option<Vec<_>> = plugins.collect();
        let plugins = plugins
            .filter(|p| !p.is_empty())
            .ok_or_else(|| wrong("needs `plugins`, each with a plain `type`"))?;
        Ok(Self {
            name,
            version,
            check,
            plugins,
        })
    }

    /// Text and list of the first file by name of a directory, as every CNI runtime reads it.
    ///
    /// # Errors
    /// There is none, or it can't be read or used.
    pub fn load(dir: &Path) -> Result<(String, Self), ListError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| ListError::Read { path, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed(dir))? {
            let path = entry.map_err(failed(dir))?.path();
            let extension = path.extension().and_then(|e| e.to_str());
            if matches!(extension, Some("conflist" | "conf" | "json")) && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let Some(path) = paths.first() else {
            return Err(ListError::None(dir.display().to_string()));
        };
        let size = path.metadata().map_err(failed(path))?.len();
        if size > MAX {
            let what = format!("{}: more than {MAX} bytes", path.display());
            return Err(ListError::Form(what));
        }
        let text = fs::read_to_string(path).map_err(failed(path))?;
        match Self::parse(&text) {
            Ok(list) => Ok((text, list)),
            Err(e) => Err(ListError::Form(format!("{}: {e}", path.display()))),
        }
    }

    /// The network's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plugins in the order of joining.
    pub fn plugins(&self) -> impl DoubleEndedIterator<Item = &Plugin> {
        self.plugins.iter()
    }

    /// Every program that the list needs: its plugins, and those for addresses.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().flat_map(|plugin| {
            let ipam = plugin.0.get("ipam").and_then(|i| i.get("type")?.as_str());
            [Some(plugin.kind()), ipam].into_iter().flatten()
        })
    }

    /// Where host-local keeps the network's addresses, a file each; none if another plugin gives
    /// them.
    #[must_use]
    pub fn addresses_dir(&self) -> Option<PathBuf> {
        let ipams = self
            .plugins
            .iter()
            .filter_map(|plugin| plugin.0.get("ipam"));
        let mut local = ipams.filter(|ipam| ipam["type"] == "host-local");
        let dir = local.next()?.get("dataDir").and_then(Value::as_str);
        Some(Path::new(dir.unwrap_or(HOST_LOCAL)).join(&self.name))
    }

    /// Does the protocol's version know CHECK, and does the list want it?
    pub(super) fn can_check(&self) -> bool {
        self.check && !self.version.starts_with("0.3")
    }

    /// Is a plugin told the result when the network is left? Since 0.4.0.
    pub(super) fn passes_result_to_del(&self) -> bool {
        !self.version.starts_with("0.3")
    }

    /// What a plugin reads: its own part with the list's name and version, the ports if it can
    /// map them, and the former result.
    pub(super) fn told(&self, plugin: &Plugin, ports: &Value, former: Option<&Value>) -> Vec<u8> {
        let mut config = plugin.0.clone();
        config.remove("capabilities");
        config.insert("cniVersion".into(), self.version.clone().into());
        config.insert("name".into(), self.name.clone().into());
        if plugin.takes("portMappings") && ports != &Value::Array(Vec::new()) {
            let runtime = Map::from_iter([("portMappings".to_owned(), ports.clone())]);
            config.insert("runtimeConfig".into(), runtime.into());
        }
        if let Some(former) = former {
            config.insert("prevResult".into(), former.clone());
        }
        Value::Object(config).to_string().into_bytes()
    }
}
