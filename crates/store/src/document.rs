//! From the text of a manifest to documents, and from documents to the objects inside lists and sequences.
//!
//! The text is cut at document markers before it is parsed, so that one broken document leaves its neighbours
//! readable. A marker at the first column is one wherever it stands, even within a block scalar.

use serde_json::Value;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

/// One document of a file.
pub(crate) struct Document {
    /// Counted from 1.
    pub index: usize,
    /// What it says, or why it cannot be parsed.
    pub value: Result<Value, String>,
}

/// The objects in a YAML text, also those inside lists and sequences; or why a document cannot be parsed.
pub fn objects_in(text: &str) -> Vec<Result<Value, String>> {
    let objects = |document: Document| match document.value {
        Ok(value) => flatten(value).into_iter().map(Ok).collect(),
        Err(message) => vec![Err(message)],
    };
    documents(text).into_iter().flat_map(objects).collect()
}

/// The documents of a YAML text; empty ones are left out.
pub(crate) fn documents(text: &str) -> Vec<Document> {
    chunks(text.strip_prefix('\u{feff}').unwrap_or(text))
        .into_iter()
        .enumerate()
        .map(|(index, (line, chunk))| Document { index: index + 1, value: parse(chunk, line) })
        .collect()
}

fn parse(chunk: &str, first_line: usize) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        // A label's value `on` stays a string; nobody loses a boolean, since the schema's types have few.
        strict_booleans: true,
        // Lists of a whole cluster's pods are longer than the parser's default allows.
        budget: None,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Value>(chunk, options).map_err(|error| {
        let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
        match error.location() {
            Some(at) => {
                format!("line {}, column {}: {message}", first_line as u64 + at.line() - 1, at.column())
            }
            None => format!("line {first_line}: {message}"),
        }
    })
}

/// The text between markers, with the number of the first line, counted from 1.
fn chunks(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut offset = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = |mark: &str| {
            line.strip_prefix(mark)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if marker("---") || marker("...") {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset + 3, number);
        }
        offset += line.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks.retain(|(_, chunk)| {
        chunk.lines().map(str::trim).any(|l| !l.is_empty() && !l.starts_with(['#', '%']))
    });
    chunks
}

/// The objects in a document: itself, or the items of a sequence or a list, at any depth.
pub(crate) fn flatten(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.into_iter().flat_map(flatten).collect(),
        Value::Object(mut map) => {
            let of = map.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
            let (Some(of), Some(Value::Array(_))) = (of.map(str::to_owned), map.get("items")) else {
                return vec![Value::Object(map)];
            };
            let version = map.get("apiVersion").cloned();
            let Some(Value::Array(items)) = map.remove("items") else { return Vec::new() };
            items
                .into_iter()
                .map(|mut item| {
                    // `PodList` and its like name kind and version once for all their items.
                    if let (Value::Object(item), false) = (&mut item, of.is_empty()) {
                        item.entry("kind").or_insert_with(|| of.as_str().into());
                        if let Some(version) = &version {
                            item.entry("apiVersion").or_insert_with(|| version.clone());
                        }
                    }
                    item
                })
                .flat_map(flatten)
                .collect()
        }
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_broken_document_leaves_its_neighbours_and_names_its_line() {
        let found = documents("# nothing here\n---\na: 1\n---\nb: [\n--- # three\nc: 3\r\n...\n");
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].value, Ok(json!({"a": 1})));
        let message = found[1].value.as_ref().unwrap_err();
        assert!(message.starts_with("line 5") || message.starts_with("line 6"), "{message}");
        assert_eq!((found[2].index, &found[2].value), (3, &Ok(json!({"c": 3}))));
    }

    #[test]
    fn lists_and_sequences_are_opened() {
        let pods = json!({"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]});
        let list = json!({"kind": "List", "apiVersion": "v1", "items": [[{"kind": "X"}], pods]});
        assert_eq!(
            flatten(json!([list])),
            vec![json!({"kind": "X"}), json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})]
        );
    }

    #[test]
    fn words_that_yaml_1_1_took_for_booleans_are_strings() {
        assert_eq!(
            documents("a: on\nb: yes\nc: true").remove(0).value,
            Ok(json!({"a": "on", "b": "yes", "c": true}))
        );
    }
}
