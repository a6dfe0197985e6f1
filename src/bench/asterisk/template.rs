//! The configuration of an instance: the files of `docker/asterisk/` with their `{{placeholders}}` filled in.
//!
//! The files are the documented set-up for users, so what the tests run is what the documentation shows.

/// A configuration file as it is kept in the source tree.
pub(super) struct Template {
    /// File name below the configuration folder of Asterisk.
    pub(super) name: &'static str,
    text: &'static str,
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        [$(Template { name: $name, text: include_str!(concat!("../../../docker/asterisk/", $name)) }),+]
    };
}

/// Every file that says something.
pub(super) const TEMPLATES: [Template; 10] = templates![
    "ari.conf",
    "asterisk.conf",
    "extensions.conf",
    "http.conf",
    "indications.conf",
    "logger.conf",
    "modules.conf",
    "pjsip.conf",
    "rtp.conf",
    "websocket_client.conf",
];

/// Files that Asterisk looks for and that say nothing here. Without them it starts just as well, but its log begins
/// with an error for each, and an error that matters would drown.
pub(super) const EMPTY_FILES: [&str; 10] = [
    "acl.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "chan_websocket.conf",
    "features.conf",
    "manager.conf",
    "pjproject.conf",
    "sorcery.conf",
    "udptl.conf",
];

/// What a template may be given.
pub(super) struct Values<'a>(pub(super) &'a [(&'static str, &'a str)]);

/// A template that does not fit its values; a mistake in this program or in its files.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// The file has a placeholder that nobody fills in.
    #[error("{file} line {line}: no value for the placeholder {{{{{placeholder}}}}}")]
    NoValue {
        /// File in `docker/asterisk/`.
        file: &'static str,
        /// Line, from 1.
        line: usize,
        /// Name between the braces.
        placeholder: String,
    },
    /// The file has `{{` without `}}` in the same line.
    #[error("{file} line {line}: a placeholder begins with {{{{ and does not end with }}}} in that line")]
    Unclosed {
        /// File in `docker/asterisk/`.
        file: &'static str,
        /// Line, from 1.
        line: usize,
    },
}

impl Template {
    /// The file with every placeholder replaced.
    pub(super) fn render(&self, values: &Values<'_>) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.text.len() + 256);
        for (index, line) in self.text.lines().enumerate() {
            let line_number = index + 1;
            let mut rest = line;
            while let Some((before, after)) = rest.split_once("{{") {
                let (name, after) =
                    after.split_once("}}").ok_or(TemplateError::Unclosed { file: self.name, line: line_number })?;
                let (_, value) = values.0.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                    TemplateError::NoValue { file: self.name, line: line_number, placeholder: name.to_owned() }
                })?;
                out.push_str(before);
                out.push_str(value);
                rest = after;
            }
            out.push_str(rest);
            out.push('\n');
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values(&[("app", "arioso"), ("port", "5060")]);

    fn render(text: &'static str) -> Result<String, TemplateError> {
        Template { name: "x.conf", text }.render(&VALUES)
    }

    #[test]
    fn fills_in_every_placeholder_and_leaves_dialplan_variables_alone() {
        let text = "a={{app}}:{{port}},${EXTEN}\n; $[1 + 1]\nb={{port}}{{port}}";
        assert_eq!(render(text).unwrap(), "a=arioso:5060,${EXTEN}\n; $[1 + 1]\nb=50605060\n");
    }

    #[test]
    fn the_documentation_shows_the_dialplan_that_the_tests_run() {
        let documentation = include_str!("../../../docs/asterisk-setup.md");
        let template = TEMPLATES.iter().find(|template| template.name == "extensions.conf").unwrap();
        let dialplan = template.render(&Values(&[("app", "arioso"), ("site_dialplan", "")])).unwrap();
        let ours = dialplan.split("[arioso]").nth(1).unwrap().split("[site]").next().unwrap();
        let ours: Vec<&str> = ours.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).collect();
        let shown = documentation.split("```ini\n[arioso]").nth(1).unwrap().split("```").next().unwrap();
        let shown: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(shown, ours);
    }

    #[test]
    fn says_where_a_placeholder_has_no_value() {
        let error = render("ok\nbind={{adress}}").unwrap_err();
        assert_eq!(error, TemplateError::NoValue { file: "x.conf", line: 2, placeholder: "adress".to_owned() });
        assert_eq!(error.to_string(), "x.conf line 2: no value for the placeholder {{adress}}");
    }

    #[test]
    fn says_where_a_placeholder_does_not_end() {
        assert_eq!(render("a={{app\n}}").unwrap_err(), TemplateError::Unclosed { file: "x.conf", line: 1 });
    }
}
