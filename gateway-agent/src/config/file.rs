//! The settings file.

use std::path::Path;

use super::Settings;
use crate::yaml;

/// The settings of a file, or everything that is wrong with it, with line and key.
pub(super) fn read(path: &Path) -> Result<Settings, Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("reading {}: {error}", path.display())])?;
    let place = |(line, message): Wrong| match line {
        Some(line) => format!("{}:{line}: {message}", path.display()),
        None => format!("{}: {message}", path.display()),
    };
    parse(&text).map_err(|wrong| wrong.into_iter().map(place).collect())
}

/// Line and message.
type Wrong = (Option<u32>, String);

fn parse(text: &str) -> Result<Settings, Vec<Wrong>> {
    let documents =
        yaml::read(text).map_err(|e| vec![(e.line, format!("is not valid YAML: {}", e.message))])?;
    let [document] = documents.as_slice() else {
        return match documents.get(1) {
            None => Ok(Settings::default()),
            Some(second) => {
                Err(vec![(Some(second.line), "a second document; the settings are one".to_owned())])
            }
        };
    };
    let (mut value, mut wrong) = (document.to_json(), Vec::new());
    loop {
        let error = match serde_path_to_error::deserialize(value.clone()) {
            Ok(settings) if wrong.is_empty() => return Ok(settings),
            Ok(_) => return Err(wrong),
            Err(error) => error,
        };
        let path = yaml::Path::from(error.path());
        let message = match path.to_string().as_str() {
            "" => error.inner().to_string(),
            key => format!("{key}: {}", error.inner()),
        };
        wrong.push((Some(document.line_of(&path)), message));
        // Without the wrong key the next one is found.
        let key = match path.0.first() {
            Some(yaml::Step::Key(key)) => key.as_str(),
            Some(yaml::Step::Index(_)) | None => return Err(wrong),
        };
        if value.as_object_mut().and_then(|settings| settings.remove(key)).is_none() {
            return Err(wrong);
        }
    }
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
            let [(at, message)] = parse(text).unwrap_err().try_into().unwrap();
            assert!(message.starts_with(want), "{text}: {message}");
            assert_eq!(at, line, "{text}");
        }
    }

    #[test]
    fn every_wrong_key_is_named() {
        let wrong = parse("sorce: /b\nlog: debug\nxdp: fast\ndeny: [[1]]\n").unwrap_err();
        let mut keys: Vec<_> =
            wrong.iter().map(|(line, message)| (*line, message.split(':').next().unwrap())).collect();
        keys.sort_unstable();
        assert_eq!(keys, [(Some(1), "sorce"), (Some(3), "xdp"), (Some(4), "deny[0]")]);
        let twice = parse("log: debug\nlog: info\n").unwrap_err();
        assert_eq!(twice, [(Some(2), "is not valid YAML: duplicate mapping key: log".to_owned())]);
    }
}
