//! The settings file.

use std::path::Path;

use super::Settings;
use crate::yaml;

/// The settings of a file, or what is wrong with it, with line and key.
pub(super) fn read(path: &Path) -> Result<Settings, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    parse(&text).map_err(|(line, message)| match line {
        Some(line) => format!("{}:{line}: {message}", path.display()),
        None => format!("{}: {message}", path.display()),
    })
}

fn parse(text: &str) -> Result<Settings, (Option<u32>, String)> {
    let documents = yaml::read(text).map_err(|e| (e.line, format!("is not valid YAML: {}", e.message)))?;
    let [document] = documents.as_slice() else {
        return match documents.get(1) {
            None => Ok(Settings::default()),
            Some(second) => Err((Some(second.line), "a second document; the settings are one".to_owned())),
        };
    };
    serde_path_to_error::deserialize(document.to_json()).map_err(|error| {
        let path = yaml::Path::from(error.path());
        let message = match path.to_string().as_str() {
            "" => error.inner().to_string(),
            key => format!("{key}: {}", error.inner()),
        };
        (Some(document.line_of(&path)), message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_flags_names() {
        let settings =
            parse("# c\nsource: /objects\naddress-pool: [192.0.2.0/24]\nxdp: native\nworkers: 2\n").unwrap();
        assert_eq!(settings.source.as_deref(), Some(Path::new("/objects")));
        assert_eq!(settings.address_pool, ["192.0.2.0/24"]);
        assert_eq!((settings.xdp, settings.workers), (Some(super::super::Xdp::Native), Some(2)));
        assert_eq!(parse("").unwrap(), Settings::default());
    }

    #[test]
    fn errors_have_line_and_key() {
        let cases = [
            (
                "source: /a\nxdp: fast\n",
                Some(2),
                "xdp: unknown variant `fast`, expected one of `off`, `native`, `generic`",
            ),
            ("a: [\n", Some(1), "is not valid YAML"),
            ("source: /a\nsorce: /b\n", Some(2), "sorce: unknown field `sorce`, expected one of"),
            ("workers:\n  - 1\n", Some(2), "workers: invalid type: sequence, expected u32"),
            ("log: debug\n---\nlog: info\n", Some(3), "a second document; the settings are one"),
        ];
        for (text, line, want) in cases {
            let (at, message) = parse(text).unwrap_err();
            assert!(message.starts_with(want), "{text}: {message}");
            assert_eq!(at, line, "{text}");
        }
    }
}
