//! Passwords and tokens: they come from a file or the environment, and are never shown.

use super::document::Section;
use super::error::{Caution, Fault};
use super::surroundings::{Surroundings, System, cause};
use super::values::text;
use std::fmt;
use std::path::Path;
use toml::de::DeValue;

/// A text that must not be seen: `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The keys under which one secret may be given.
pub(super) struct SecretKeys {
    /// In plain text: refused, with the right way.
    pub(super) plain: &'static str,
    /// The name of a file.
    pub(super) file: &'static str,
    /// The name of an environment variable.
    pub(super) env: &'static str,
}

pub(super) const PASSWORD: SecretKeys = SecretKeys { plain: "password", file: "password_file", env: "password_env" };
pub(super) const WEBSOCKET_PASSWORD: SecretKeys =
    SecretKeys { plain: "websocket_password", file: "websocket_password_file", env: "websocket_password_env" };
pub(super) const TOKEN: SecretKeys = SecretKeys { plain: "token", file: "token_file", env: "token_env" };

/// The secret of a section that needs one.
pub(super) fn required(section: &Section<'_, '_>, keys: &SecretKeys) -> Option<Secret> {
    let given = Given::find(section, keys)?;
    if let Given::Nowhere = given {
        section.problem(keys.file, Fault::NoSecret { file: keys.file, env: keys.env });
    }
    given.resolve(section, keys)
}

/// The secret of a section that may go without; the outer `None` means that it is wrong.
pub(super) fn optional(section: &Section<'_, '_>, keys: &SecretKeys) -> Option<Option<Secret>> {
    match Given::find(section, keys)? {
        Given::Nowhere => Some(None),
        given => given.resolve(section, keys).map(Some),
    }
}

/// Where a section says that its secret is.
enum Given<'v, 't> {
    Nowhere,
    File(&'v DeValue<'t>),
    Variable(&'v DeValue<'t>),
}

impl<'v, 't> Given<'v, 't> {
    fn find(section: &Section<'v, 't>, keys: &SecretKeys) -> Option<Self> {
        let (file, env) = (section.get(keys.file), section.get(keys.env));
        if section.contains(keys.plain) {
            section.refuse(keys.plain, Fault::SecretInPlainText { file: keys.file, env: keys.env });
            return None;
        }
        match (file, env) {
            (None, None) => Some(Self::Nowhere),
            (Some(file), None) => Some(Self::File(file.get_ref())),
            (None, Some(env)) => Some(Self::Variable(env.get_ref())),
            (Some(_), Some(_)) => {
                section.problem(keys.env, Fault::TwoSecrets { file: keys.file, env: keys.env });
                None
            }
        }
    }

    fn resolve(self, section: &Section<'_, '_>, keys: &SecretKeys) -> Option<Secret> {
        match self {
            Self::Nowhere => None,
            Self::File(value) => {
                from_file(section, keys.file, value).map_err(|fault| section.problem(keys.file, fault)).ok()
            }
            Self::Variable(value) => {
                from_variable(section, value).map_err(|fault| section.problem(keys.env, fault)).ok()
            }
        }
    }
}

fn from_file(section: &Section<'_, '_>, key: &'static str, value: &DeValue<'_>) -> Result<Secret, Fault> {
    let path = section.context.path(&text(value)?);
    let (secret, caution) = read_file(&path, section.context.surroundings)?;
    if let Some(caution) = caution {
        section.warn(key, caution);
    }
    Ok(secret)
}

/// Reads a secret from a file, whose last line break is no part of it; with what is odd about the file.
///
/// # Errors
/// [`Fault::FileUnreadable`], or [`Fault::BadSecret`] if there is no secret in it, or more than one line.
pub fn secret_from_file(path: &Path) -> Result<(Secret, Option<Caution>), Fault> {
    read_file(path, &System)
}

fn read_file(path: &Path, surroundings: &dyn Surroundings) -> Result<(Secret, Option<Caution>), Fault> {
    let unreadable = |error| Fault::FileUnreadable { path: path.to_owned(), cause: cause(&error) };
    let found = surroundings.read(path).map_err(unreadable)?;
    let line = found.text.strip_suffix('\n').unwrap_or(&found.text);
    let secret = checked(line.strip_suffix('\r').unwrap_or(line), || path.display().to_string())?;
    Ok((secret, found.readable_by_all.then(|| Caution::SecretReadableByAll { path: path.to_owned() })))
}

fn from_variable(section: &Section<'_, '_>, value: &DeValue<'_>) -> Result<Secret, Fault> {
    let name = text(value).map_err(|fault| match fault {
        Fault::Invalid { .. } => Fault::NotAVariableName,
        other => other,
    })?;
    let first_is_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if first_is_digit || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Fault::NotAVariableName);
    }
    // Someone may have written the secret itself here: only what looks like a variable is shown.
    let looks_like_a_variable = name.contains('_') && !name.bytes().any(|b| b.is_ascii_lowercase());
    let shown = || if looks_like_a_variable { name.clone() } else { "named here".to_owned() };
    let secret = section.context.surroundings.variable(&name).ok_or_else(|| Fault::VariableNotSet { name: shown() })?;
    checked(&secret, || format!("the environment variable {}", shown()))
}

fn checked(secret: &str, source_name: impl Fn() -> String) -> Result<Secret, Fault> {
    let why = match secret {
        "" => "is empty; write it there",
        secret if secret.contains(['\n', '\r', '\0']) => "has more than one line; leave only the secret there",
        secret => return Ok(Secret::new(secret)),
    };
    Err(Fault::BadSecret { source_name: source_name(), why })
}
