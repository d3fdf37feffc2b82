//! The pages of `docs/` are modules of the documentation, where a link to a file leads nowhere: each
//! such link has another target there.

use super::root;
use std::fs::read_to_string;

/// The names of the links that a page defines as files, beside its text.
fn links_to_files(page: &str) -> impl Iterator<Item = &str> {
    let definitions = page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    definitions.filter(|(_, target)| !target.contains("://")).map(|(name, _)| name)
}

#[test]
fn links_of_the_guide_lead_to_its_pages() {
    let guide = read_to_string(root().join("src/guide.rs")).unwrap();
    let mut defined = Vec::new();
    let mut pages = 0;
    for line in guide.lines().map(str::trim) {
        if let Some((name, _)) = line.strip_prefix("/// [").and_then(|rest| rest.split_once("]: ")) {
            defined.push(name);
        } else if let Some(rest) = line.strip_prefix("#[doc = include_str!(\"../") {
            let page = rest.split('"').next().unwrap();
            let text = read_to_string(root().join(page)).unwrap();
            for name in links_to_files(&text) {
                assert!(defined.contains(&name), "src/guide.rs has no target of [{name}], a link of {page}");
            }
            pages += 1;
        } else if line.starts_with("pub mod") {
            defined.clear();
        }
    }
    assert!(pages > 10, "{pages} pages");
}
