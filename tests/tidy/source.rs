//! Source files as the rules see them.

use std::path::{Path, PathBuf};

/// A Rust file: as it is, and with comments and literals blanked out, line for line.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: blanked(text) }
    }

    /// The code without items that only tests are built with, line for line; nothing of a file that is all tests.
    pub(crate) fn shipped(&self) -> String {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        if file == "tests.rs" || file.ends_with("_tests.rs") || self.path.contains("/tests/") {
            return String::new();
        }
        let mut shipped = String::with_capacity(self.code.len());
        let mut rest = self.code.as_str();
        while let Some(at) = rest.find("#[cfg(test)]") {
            shipped.push_str(&rest[..at]);
            let end = at + item_end(&rest[at..]);
            shipped.extend(rest[at..end].chars().filter(|c| *c == '\n'));
            rest = &rest[end..];
        }
        shipped + rest
    }

    /// Places of the code lines that `wanted` takes.
    pub(crate) fn lines_with(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        places(&self.path, &self.code, wanted)
    }

    /// Places of the lines, comments and literals included, that `wanted` takes.
    pub(crate) fn text_lines_with(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        places(&self.path, &self.text, wanted)
    }
}

fn places(path: &str, text: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| wanted(line))
        .map(move |(n, _)| format!("{path}:{}", n + 1))
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace.
pub(crate) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for directory in ["src", "journal", "tools", "tests", "benches", "examples"] {
        walk(&root().join(directory), &mut files);
    }
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    files.iter().map(|path| Source::new(&relative(path), &read(path))).collect()
}

/// Everything of the repository that is text.
pub(crate) fn committed_texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(root(), &mut files);
    let text = |path: &PathBuf| std::fs::read_to_string(path).ok().map(|text| (relative(path), text));
    files.iter().filter_map(text).collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(found) = std::fs::read_dir(directory) else { return };
    for item in found {
        let item = item.expect("a directory can be listed");
        let name = item.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        let kind = item.file_type().expect("its type");
        if kind.is_dir() {
            walk(&item.path(), files);
        } else if kind.is_file() {
            files.push(item.path());
        }
    }
    files.sort();
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where the item ends that begins here: at its `;`, or at the brace that closes its body.
fn item_end(code: &str) -> usize {
    let mut nesting = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if nesting == 0 => return at + 1,
            '{' => nesting += 1,
            '}' if nesting == 1 => return at + 1,
            '}' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// Whether `word` stands in `line` with no letter, digit or underscore beside it.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The text with comments, strings and characters replaced by blanks; lines stay lines.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = opaque_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself where none begins.
fn opaque_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next == Some(&'/') => find(chars, at, |c, i| c[i] == '\n'),
        '/' if next == Some(&'*') => {
            find(chars, at + 2, |c, i| c[i - 1] == '*' && c[i] == '/' && i > at + 2) + 1
        }
        '"' => string_end(chars, at),
        'r' if !word_before && raw_hashes(chars, at).is_some() => {
            let hashes = raw_hashes(chars, at).unwrap_or_default();
            let close =
                |c: &[char], i: usize| c[i] == '"' && c[i + 1..].iter().take(hashes).all(|c| *c == '#');
            find(chars, at + hashes + 2, close) + hashes + 1
        }
        '\'' if next == Some(&'\\') => find(chars, at + 3, |c, i| c[i] == '\'') + 1,
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, end: impl Fn(&[char], usize) -> bool) -> usize {
    (from..chars.len()).find(|i| end(chars, *i)).unwrap_or(chars.len())
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The number of `#` of a raw string that begins with the `r` at `at`.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let text = "a // b\n/* c\n*/ d \"e\\\"f\" 'g' '\\'' r#\"h\"i\"# 'life j";
    let seen: Vec<String> =
        blanked(text).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(seen, ["a", "", "d 'life j"]);
}

#[test]
fn only_what_tests_alone_are_built_with_is_left_out() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nfn c() { if d {} }\nfn e() {}";
    assert_eq!(Source::new("src/x.rs", text).shipped(), "use a;\n\n\nfn b() {}\n\n\nfn e() {}");
    assert_eq!(Source::new("src/x/tests.rs", text).shipped(), "");
}
