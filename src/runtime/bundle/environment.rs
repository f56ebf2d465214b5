//! What a container's process is called with: its arguments and its variables.
//!
//! In: image, definition, what is known of the node. Out: texts. Must never happen here: IO, or a
//! value in an error.

use super::{
    config_json::{ConfigError, Ingredients},
    defaults,
};

/// Variables in order; setting one again replaces it in place.
#[derive(Default)]
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some(found) => found.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value.to_owned());
        }
    }
}

/// Kubernetes' `$(NAME)`: replaced if the definition sets NAME, left alone if not; `$$` is a
/// plain `$`.
fn expand(text: &str, known: &Environment) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The variables that the definition sets, each able to name those before it.
pub(super) fn own_variables(from: &Ingredients<'_>) -> Environment {
    let mut own = Environment::default();
    for variable in &from.container.env {
        let value = match &variable.from {
            Some(source) => from.facts.value(source),
            None if variable.literal => variable.value.clone(),
            None => expand(&variable.value, &own),
        };
        own.set(&variable.name, value);
    }
    own
}

/// `command` replaces the image's entrypoint and drops its arguments; `args` replaces those.
pub(super) fn arguments(
    from: &Ingredients<'_>,
    own: &Environment,
) -> Result<Vec<String>, ConfigError> {
    let image = from.image.config().as_ref();
    let of_image = |part: Option<&Option<Vec<String>>>| part.cloned().flatten().unwrap_or_default();
    let (command, args) = (&from.container.command, &from.container.args);
    let expanded = |texts: &[String]| texts.iter().map(|t| expand(t, own)).collect::<Vec<_>>();
    let mut all = if command.is_empty() {
        of_image(image.map(|c| c.entrypoint()))
    } else {
        expanded(command)
    };
    if !args.is_empty() {
        all.extend(expanded(args));
    } else if command.is_empty() {
        all.extend(of_image(image.map(|c| c.cmd())));
    }
    match all.first() {
        Some(program) if !program.is_empty() => Ok(all),
        _ => Err(ConfigError::NoCommand(from.container.name.clone())),
    }
}

/// All variables: the image's, the runtime's own, and on top the definition's.
pub(super) fn environment(from: &Ingredients<'_>, own: Environment) -> Vec<String> {
    let mut all = Environment::default();
    let image = from.image.config().as_ref();
    for pair in image.and_then(|c| c.env().as_ref()).into_iter().flatten() {
        if let Some((name, value)) = pair.split_once('=') {
            all.set(name, value.to_owned());
        }
    }
    all.set_default("PATH", defaults::PATH);
    all.set_default("HOSTNAME", from.hostname);
    for (name, value) in own.0 {
        all.set(&name, value);
    }
    all.set_default("HOME", &from.user.home);
    all.0
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}
