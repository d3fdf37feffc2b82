//! The graph of imports: which source file names items of which other one. It reads tokens and no
//! types.
//!
//! File A imports file B if the code of A names an item that is defined in B, in a `use` or in a
//! path.
//!
//! * A re-exported name (`pub use child::Item`) leads to the file that defines the item, and not to
//!   the file that re-exports.
//! * So a parent that declares and re-exports its children imports none of them. If its own code
//!   uses the name, it does.
//! * Naming a module is no import. `use super::timer;` alone leads nowhere; `timer::start()` in the
//!   code leads to the file that defines `start`.
//! * A call of a method names no file, wherever its `impl` stands. Comments, strings, tests and
//!   model checks are left out.

use super::tokens::{Token, is_name, tokens};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

type Names = Vec<String>;

/// A module: a file, or a part of one in braces.
#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    /// A name stands for several modules where the platform or a feature chooses one.
    children: HashMap<String, Vec<usize>>,
    defined: HashSet<String>,
    imported: HashMap<String, Vec<Names>>,
    uses: Vec<Use>,
    globs: Vec<Names>,
    paths: Vec<(Names, usize)>,
}

struct Use {
    path: Names,
    alias: String,
    reexport: bool,
    line: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Module(usize),
    /// An item that this module defines.
    Item(usize),
}

/// From file to file, with the line and the name of the first import.
pub(super) type Edges = BTreeMap<String, BTreeMap<String, (usize, String)>>;

#[derive(Default)]
struct Crate {
    modules: Vec<Module>,
}

/// The imports between the files below this folder, by their paths in it.
pub(super) fn edges(root: &Path) -> Edges {
    let mut all = Crate::default();
    all.load(root.join("lib.rs"), None, root.to_owned());
    let mut edges = Edges::new();
    for (index, module) in all.modules.iter().enumerate().skip(1) {
        let mut add = |found: Vec<Target>, line: usize, name: &str| {
            for target in found {
                let Target::Item(definer) = target else { continue };
                let definer = &all.modules[definer].file;
                if *definer != module.file {
                    let short = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                    let from = edges.entry(short(&module.file)).or_default();
                    from.entry(short(definer)).or_insert_with(|| (line, name.to_owned()));
                }
            }
        };
        let named: HashSet<&str> = module.paths.iter().map(|(path, _)| path[0].as_str()).collect();
        for one in module.uses.iter().filter(|one| !one.reexport || named.contains(one.alias.as_str())) {
            add(all.resolve(index, &one.path, &[]).unwrap_or_default(), one.line, &one.path.join("::"));
        }
        for (path, line) in &module.paths {
            // A name of an import was counted with it.
            if path.len() > 1 || !module.imported.contains_key(&path[0]) {
                add(all.resolve(index, path, &[]).unwrap_or_default(), *line, &path.join("::"));
            }
        }
    }
    edges
}

/// Groups of files that import each other, directly or by others.
pub(super) fn circles(edges: &Edges) -> Vec<Vec<&str>> {
    let reached: BTreeMap<&str, HashSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reached(edges, file))).collect();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for (file, others) in &reached {
        if others.contains(file) && !circles.iter().flatten().any(|known| known == file) {
            let reaches_back = |other: &str| reached.get(other).is_some_and(|its| its.contains(file));
            let mut circle: Vec<&str> = others.iter().copied().filter(|other| reaches_back(other)).collect();
            circle.sort();
            circles.push(circle);
        }
    }
    circles
}

fn reached<'a>(edges: &'a Edges, from: &'a str) -> HashSet<&'a str> {
    let (mut found, mut next) = (HashSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        let named = edges.get(file).into_iter().flat_map(BTreeMap::keys);
        next.extend(named.map(String::as_str).filter(|to| found.insert(*to)));
    }
    found
}

impl Crate {
    fn load(&mut self, file: PathBuf, parent: Option<usize>, folder: PathBuf) -> usize {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let index = self.add(file, parent);
        Reader { tokens: &tokens(&text), at: 0 }.module(self, index, &folder);
        index
    }

    fn add(&mut self, file: PathBuf, parent: Option<usize>) -> usize {
        self.modules.push(Module { file, parent, ..Module::default() });
        self.modules.len() - 1
    }

    /// What a path names in a module. `None` if it leads out of the crate.
    fn resolve(&self, module: usize, path: &[String], seen: &[(usize, &str)]) -> Option<Vec<Target>> {
        let mut found = match path[0].as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(module)],
            "super" => vec![Target::Module(self.modules[module].parent?)],
            name => self.step(module, name, path.len() == 1, seen)?,
        };
        for (at, name) in path.iter().enumerate().skip(1) {
            let last = at + 1 == path.len();
            let next: Vec<Target> = found
                .iter()
                .filter_map(|&target| match (target, name.as_str()) {
                    (Target::Module(module), "super") => Some(vec![Target::Module(self.modules[module].parent?)]),
                    (Target::Module(module), _) => self.step(module, name, last, seen),
                    (Target::Item(_), _) => Some(vec![target]),
                })
                .flatten()
                .collect();
            // A macro may define a name that stands nowhere.
            let of_macros = |target| if let Target::Module(module) = target { Target::Item(module) } else { target };
            found = if next.is_empty() { found.into_iter().map(of_macros).collect() } else { next };
        }
        Some(found)
    }

    /// What a name is in a module: as the last of a path rather an item, before others a module.
    fn step<'a>(&'a self, index: usize, name: &'a str, last: bool, seen: &[(usize, &'a str)]) -> Option<Vec<Target>> {
        if seen.contains(&(index, name)) {
            return None;
        }
        let seen = &[seen, &[(index, name)]].concat();
        let module = &self.modules[index];
        let children = module.children.get(name).map(|all| all.iter().map(|&child| Target::Module(child)).collect());
        if !last && children.is_some() {
            return children;
        }
        if module.defined.contains(name) {
            return Some(vec![Target::Item(index)]);
        }
        let imported = module.imported.get(name).into_iter().flatten();
        let found: Vec<Target> = imported.filter_map(|path| self.resolve(index, path, seen)).flatten().collect();
        if !found.is_empty() {
            return Some(found);
        }
        children.or_else(|| {
            module.globs.iter().find_map(|path| {
                let modules = self.resolve(index, path, seen)?;
                modules.into_iter().find_map(|target| match target {
                    Target::Module(module) => self.step(module, name, last, seen),
                    Target::Item(_) => None,
                })
            })
        })
    }
}

const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn now(&self) -> &str {
        self.text(self.at)
    }

    /// Reads a module up to its closing brace, or to the end of the file. Its child files are in
    /// `folder`.
    fn module(&mut self, all: &mut Crate, index: usize, folder: &Path) {
        let mut depth = 0;
        let mut path = None;
        while self.at < self.tokens.len() {
            let (now, next, line) =
                (self.now().to_owned(), self.text(self.at + 1).to_owned(), self.tokens[self.at].line);
            match now.as_str() {
                "#" if next == "[" => {
                    let attribute = self.attribute();
                    match &attribute[..] {
                        [name, _, value] if name == "path" => path = Some(value[1..].to_owned()),
                        [name, condition @ ..] if name == "cfg" && holds(condition) == Some(false) => {
                            self.skip_item();
                            path = None;
                        }
                        _ => {}
                    }
                    continue;
                }
                "{" => depth += 1,
                "}" if depth == 0 => return,
                "}" => depth -= 1,
                "mod" if is_name(&next) => {
                    self.at += 2;
                    let child = if self.now() == "{" {
                        self.at += 1;
                        let child = all.add(all.modules[index].file.clone(), Some(index));
                        self.module(all, child, &folder.join(&next));
                        child
                    } else {
                        let beside = all.modules[index].file.parent().unwrap().to_owned();
                        let (file, folder) = find(&beside, folder, &next, path.take());
                        all.load(file, Some(index), folder)
                    };
                    all.modules[index].children.entry(next).or_default().push(child);
                }
                "use" if next != "<" => {
                    let before = &self.tokens[self.at.saturating_sub(8)..self.at];
                    let from = before.iter().rposition(|token| [";", "}", "]", "{"].contains(&token.text.as_str()));
                    let reexport = before[from.map_or(0, |from| from + 1)..].iter().any(|token| token.text == "pub");
                    self.at += 1;
                    self.tree(&mut all.modules[index], &[], reexport);
                    continue;
                }
                item if depth == 0 && ITEMS.contains(&item) => {
                    let mut at = self.at + 1;
                    while ["mut", "!", "fn", "unsafe", "extern", "async"].contains(&self.text(at)) {
                        at += 1;
                    }
                    all.modules[index].defined.insert(self.text(at).to_owned());
                    self.at = at;
                }
                name if is_name(name) && ![".", "::"].contains(&self.text(self.at.wrapping_sub(1))) => {
                    let mut path = vec![name.to_owned()];
                    while self.text(self.at + 1) == "::" && is_name(self.text(self.at + 2)) {
                        path.push(self.text(self.at + 2).to_owned());
                        self.at += 2;
                    }
                    all.modules[index].paths.push((path, line));
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The words between the brackets, and moves behind them.
    fn attribute(&mut self) -> Names {
        let begin = self.at + 2;
        let mut depth = 0;
        for at in self.at + 1.. {
            match self.text(at) {
                "[" => depth += 1,
                "]" if depth == 1 => {
                    self.at = at + 1;
                    return self.tokens[begin..at].iter().map(|token| token.text.clone()).collect();
                }
                "]" => depth -= 1,
                _ => {}
            }
        }
        unreachable!()
    }

    /// Moves behind the item, field or statement that an attribute was for, and behind its other
    /// attributes.
    fn skip_item(&mut self) {
        while self.now() == "#" {
            self.attribute();
        }
        let is_item =
            ITEMS.contains(&self.now()) || ["pub", "mod", "use", "impl", "unsafe", "extern"].contains(&self.now());
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.now() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" if depth == 0 => return,
                "}" if depth == 1 => break,
                "}" | ")" | "]" => depth -= 1,
                ";" if depth == 0 => break,
                "," if depth == 0 && !is_item => break,
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
    }

    /// Reads one tree of a `use`, and moves behind it.
    fn tree(&mut self, module: &mut Module, prefix: &[String], reexport: bool) {
        let mut path = prefix.to_vec();
        let line = self.tokens[self.at].line;
        loop {
            match self.now().to_owned().as_str() {
                "::" => {}
                "{" => {
                    self.at += 1;
                    while !["}", ""].contains(&self.now()) {
                        self.tree(module, &path, reexport);
                        self.at += usize::from(self.now() == ",");
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    module.globs.push(path);
                    self.at += 1;
                    return;
                }
                "," | "}" | ";" | "as" | "" => break,
                "self" if !path.is_empty() => {}
                name => path.push(name.to_owned()),
            }
            self.at += 1;
        }
        let mut alias = path.last().unwrap().clone();
        if self.now() == "as" {
            alias = self.text(self.at + 1).to_owned();
            self.at += 2;
        }
        module.imported.entry(alias.clone()).or_default().push(path.clone());
        module.uses.push(Use { path, alias, reexport, line });
    }
}

/// The file of a child module, and the folder of its own children.
fn find(beside: &Path, folder: &Path, name: &str, path: Option<String>) -> (PathBuf, PathBuf) {
    if let Some(path) = path {
        let file = beside.join(path);
        return (file.clone(), file.parent().unwrap().to_owned());
    }
    let file = folder.join(format!("{name}.rs"));
    if file.exists() { (file, folder.join(name)) } else { (folder.join(name).join("mod.rs"), folder.join(name)) }
}

/// Whether a `cfg` holds in a build for use. `None` if that depends on the platform or on features.
fn holds(condition: &[String]) -> Option<bool> {
    let is = |name: &str| condition[0] == name;
    match condition {
        [open, inner @ .., close] if open == "(" && close == ")" => holds(inner),
        [_, open, inner @ .., close] if open == "(" && close == ")" => {
            let mut depth = 0;
            let parts = inner.split(|token| {
                depth += i32::from(token == "(") - i32::from(token == ")");
                token == "," && depth == 0
            });
            let parts: Vec<Option<bool>> = parts.filter(|part| !part.is_empty()).map(holds).collect();
            if is("not") {
                return parts[0].map(|holds| !holds);
            }
            let decides = is("any");
            if parts.contains(&Some(decides)) {
                return Some(decides);
            }
            parts.iter().all(|part| *part == Some(!decides)).then_some(!decides)
        }
        [name] if ["test", "doctest", "fuzzing", "selvedge_loom", "selvedge_model"].contains(&name.as_str()) => {
            Some(false)
        }
        _ => None,
    }
}
