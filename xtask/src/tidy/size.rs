//! Files stay small enough to be read at once, functions small enough to be seen at once.

use super::{Finding, Source, Tree};

const FILE: usize = 600;
const MAIN: usize = 100;
const FUNCTION: usize = 80;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let code = tree.sources.iter().filter(|source| source.is_rust());
    code.flat_map(|source| file(source).into_iter().chain(functions(source))).collect()
}

fn file(source: &Source) -> Option<Finding> {
    // Counted without the tests at the end.
    let lines = source.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let limit = if source.path.ends_with("/main.rs") { MAIN } else { FILE };
    (lines > limit).then(|| {
        source.finding(
            limit + 1,
            "file-size",
            format!("{lines} lines, at most {limit}: give a part its own file"),
        )
    })
}

/// A function begins at a line with `fn` and ends at the brace in the same column.
fn functions(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |other: &&str| other.strip_prefix(indent).is_some_and(|rest| rest.trim_end() == "}");
        let length = lines[start..].iter().position(ends).map_or(0, |end| end + 1);
        if length > FUNCTION && !line.trim_end().ends_with(';') {
            findings.push(source.finding(
                start + 1,
                "function-size",
                format!("{length} lines, at most {FUNCTION}: name its parts"),
            ));
        }
    }
    findings
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    words.find(|word| !modifiers.contains(word)) == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = "// x\n".repeat(601);
        let tested = format!("{}#[cfg(test)]\n{}", "// x\n".repeat(600), "// x\n".repeat(600));
        let tree = tree(&[("a.rs", &long), ("b.rs", &tested), ("gateway-agent/api/src/c.rs", &long)]);
        assert_eq!(places(&check(&tree)), ["a.rs:601", "gateway-agent/api/src/c.rs:601"]);
    }

    #[test]
    fn main_is_a_table_of_contents() {
        let tree =
            tree(&[("x/src/main.rs", &"// x\n".repeat(101)), ("x/src/mainly.rs", &"// x\n".repeat(101))]);
        assert_eq!(places(&check(&tree)), ["x/src/main.rs:101"]);
    }

    #[test]
    fn long_functions_are_found() {
        let body = "        x();\n".repeat(79);
        let text =
            format!("impl A {{\n    pub(crate) async fn b() {{\n{body}    }}\n\n    fn c() {{}}\n}}\n");
        assert_eq!(places(&check(&tree(&[("a.rs", &text)]))), ["a.rs:2"]);
    }
}
