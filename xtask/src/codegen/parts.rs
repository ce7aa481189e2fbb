//! A kind whose types would make too long a file gets a second one, for those whose names begin alike.

/// Kind, beginning of the names, and module of the part.
const PARTS: [(&str, &str, &str); 1] =
    [("httproutes", "HttpRouteRulesBackendRefsFilters", "backend_filters")];
/// What kopium writes above the types.
const IMPORTS: &str = "use self::prelude::*;";

/// The text of each file below the folder of the types, by its name.
pub(super) fn split(plural: &str, text: &str) -> Vec<(String, String)> {
    let whole = format!("{plural}.rs");
    let Some((_, names, module)) = PARTS.iter().find(|(kind, ..)| *kind == plural) else {
        return vec![(whole, text.to_owned())];
    };
    let (part, rest): (Vec<_>, Vec<_>) =
        text.trim_end().split("\n\n").partition(|item| declares(item, names));
    let imports = format!("mod {module};\npub use self::{module}::*;\n{IMPORTS}");
    let rest = rest.join("\n\n").replacen(IMPORTS, &imports, 1);
    let (header, _) = text.split_once("\n\n").unwrap_or_default();
    let part = format!("{header}\n\nuse super::prelude::*;\n\n{}\n", part.join("\n\n"));
    vec![(whole, format!("{rest}\n")), (format!("{plural}/{module}.rs"), part)]
}

fn declares(item: &str, names: &str) -> bool {
    let declared = |line: &str| {
        let name = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        name.is_some_and(|name| name.starts_with(names))
    };
    item.lines().any(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// generated

mod prelude {}

use self::prelude::*;

pub struct HttpRouteRules {
    a: HttpRouteRulesBackendRefsFilters,
}

#[derive(Clone)]
pub struct HttpRouteRulesBackendRefsFilters {
    b: HttpRouteRulesBackendRefsFiltersType,
}

pub enum HttpRouteRulesBackendRefsFiltersType {}

pub struct HttpRouteStatus {}
";

    #[test]
    fn each_type_is_in_one_of_the_files() {
        let parts = split("httproutes", TEXT);
        let [(whole, rest), (part, types)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((whole.as_str(), part.as_str()), ("httproutes.rs", "httproutes/backend_filters.rs"));
        assert!(rest.contains("pub use self::backend_filters::*;\nuse self::prelude::*;"), "{rest}");
        assert!(rest.contains("struct HttpRouteStatus") && !rest.contains("FiltersType"), "{rest}");
        assert!(types.starts_with("// generated\n\nuse super::prelude::*;\n\n#[derive(Clone)]\n"), "{types}");
        assert!(types.ends_with("pub enum HttpRouteRulesBackendRefsFiltersType {}\n"), "{types}");
    }

    #[test]
    fn other_kinds_are_left_whole() {
        assert_eq!(split("gateways", TEXT), [("gateways.rs".to_owned(), TEXT.to_owned())]);
    }
}
