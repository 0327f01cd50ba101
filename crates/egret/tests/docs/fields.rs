//! The page of fields, made of the definitions that the API server is given.

use std::fmt::Write;

use serde_json::Value;

const BEFORE: &str = "\
# Every field

Made of the definitions that the API server is given (`UPDATE_FIELDS=1 cargo test -p egret --test docs fields` writes it, and a
test compares), so `kubectl explain egresspool.spec.ports` says the same. A path with `[]` is a field of each entry of a list, with `{}` of each
value of a map. A *selector* is Kubernetes' own: `matchLabels`, and `matchExpressions` with In, NotIn, Exists or DoesNotExist; *conditions* are as everywhere in
Kubernetes. Three kinds are written by people, EgressPool, EgressPolicy and ClusterEgressPolicy; the others are records to look into.
Other systems' kinds have their own documentation, and [pages](dialects/README.md) here on what is heeded.
";

fn page() -> String {
    let mut page = BEFORE.to_owned();
    for crd in egret_api::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()) {
        if crd["spec"]["group"] == egret_api::GROUP {
            kind(&crd, &mut page);
        }
    }
    page
}

fn kind(crd: &Value, page: &mut String) {
    let (spec, version) = (&crd["spec"], &crd["spec"]["versions"][0]);
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &spec["names"];
    let place = if spec["scope"] == "Cluster" { "cluster-wide" } else { "in a namespace" };
    let kind = text(&names["kind"]);
    let (group, version, short) =
        (text(&spec["group"]), text(&version["name"]), text(&names["shortNames"][0]));
    writeln!(
        page,
        "\n## {kind}\n\n`{group}/{version}`, {place}, short `{short}`. {}",
        text(&schema["description"])
    )
    .unwrap();
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        if schema.is_object() {
            writeln!(page, "\n| `{part}.` | type | usual | what it is | example |\n|---|---|---|---|---|")
                .unwrap();
            fields(schema, "", page);
            let rules = rules(schema, "");
            if !rules.is_empty() {
                writeln!(page, "\nRefused by the API server, in its words:\n\n{}", rules.join("\n")).unwrap();
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The fields of an object, each followed by its own.
fn fields(schema: &Value, before: &str, page: &mut String) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{before}{name}");
        let required =
            schema["required"].as_array().is_some_and(|names| names.contains(&name.as_str().into()));
        let usual = match (&field["default"], required) {
            (Value::Null, true) => "must be written".to_owned(),
            (Value::Null, false) => "absent".to_owned(),
            (default, _) => short(default),
        };
        let example =
            field.get("example").map_or("—".to_owned(), |example| format!("`{}`", short_plain(example)));
        let what = text(&field["description"]).replace("\n\n", " ").replace('|', "\\|");
        writeln!(page, "| `{path}` | {} | {usual} | {what} | {example} |", form(field)).unwrap();
        if !is_selector(field) && !is_conditions(field) {
            fields(field, &format!("{path}."), page);
            fields(&field["items"], &format!("{path}[]."), page);
            fields(&field["additionalProperties"], &format!("{path}{{}}."), page);
        }
    }
}

/// What an API server refuses besides, in the words that it uses.
fn rules(schema: &Value, path: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let place = if path.is_empty() { "spec".to_owned() } else { format!("spec.{path}") };
        found.push(format!("- `{place}`: {}", text(&rule["message"])));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.extend(rules(field, &path));
        found.extend(rules(&field["items"], &format!("{path}[]")));
    }
    found
}

fn is_selector(field: &Value) -> bool {
    field["properties"]["matchExpressions"].is_object()
}

fn is_conditions(field: &Value) -> bool {
    field["items"]["properties"]["lastTransitionTime"].is_object()
}

/// The type of a field, with what bounds it.
fn form(field: &Value) -> String {
    if is_selector(field) {
        return "selector".to_owned();
    }
    if is_conditions(field) {
        return "conditions".to_owned();
    }
    if let Some(choice) = field["enum"].as_array() {
        let choice: Vec<String> = choice.iter().filter(|value| !value.is_null()).map(short).collect();
        return choice.join(", ");
    }
    let bounds = |least: &str, most: &str, unit: &str| match (number(&field[least]), number(&field[most])) {
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
        (Some(least), None) if least > 0 => format!(", {least}{unit} or more"),
        (None, Some(most)) => format!(", at most {most}{unit}"),
        _ => String::new(),
    };
    match text(&field["type"]) {
        "array" => {
            let of = form(&field["items"]);
            format!("list of {of}{}", bounds("minItems", "maxItems", " entries"))
        }
        "string" => format!("{}{}", words(field), bounds("minLength", "maxLength", " characters")),
        "integer" => format!("number{}", bounds("minimum", "maximum", "")),
        "object" if field["additionalProperties"].is_object() => {
            format!("map of name to {}", form(&field["additionalProperties"]))
        }
        "object" => "object".to_owned(),
        other => other.to_owned(),
    }
}

/// A text whose form is checked is called by that.
fn words(field: &Value) -> &'static str {
    let rule = text(&field["x-kubernetes-validations"][0]["rule"]);
    match (rule.contains("isCIDR"), rule.contains("isIP"), text(&field["format"])) {
        (true, ..) => "network",
        (_, true, _) => "address",
        (_, _, "date-time") => "time",
        _ => "text",
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_f64().map(|number| number as i64)
}

fn short(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.values().all(|value| !value.is_object()) && !fields.is_empty() => {
            "as below".to_owned()
        }
        Value::Array(entries) if entries.is_empty() => "empty".to_owned(),
        Value::Object(fields) if fields.is_empty() => "empty".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        other => format!("`{}`", short_plain(other)),
    }
}

/// In one line, as one writes it in a manifest.
fn short_plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(entries) => {
            format!("[{}]", entries.iter().map(short_plain).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}: {}", short_plain(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_page_of_fields_is_made_of_the_definitions() {
    let file = crate::blocks::root().join("docs/fields.md");
    let made = page();
    if std::env::var_os("UPDATE_FIELDS").is_some() {
        std::fs::write(&file, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, made, "run `UPDATE_FIELDS=1 cargo test -p egret --test docs fields`");
}

/// Every field of what people write says what it is, and those without a usual value show one.
#[test]
fn every_field_that_people_write_is_described_and_shown() {
    let page = page();
    for kind in ["EgressPool", "EgressPolicy", "ClusterEgressPolicy"] {
        let part = page.split(&format!("\n## {kind}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows: Vec<&str> =
            part.split("`status.`").next().unwrap().lines().filter(|line| line.starts_with("| `")).collect();
        assert!(rows.len() > 6, "{kind}: {rows:#?}");
        for row in rows.iter().skip(1) {
            let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, _, usual, what, example] = columns[..] else { panic!("{row}") };
            assert!(what.len() > 10, "{kind}: {name} is not described");
            let open = matches!(usual, "absent" | "must be written" | "empty");
            assert!(!open || example != "—", "{kind}: {name} has neither a usual value nor an example");
        }
    }
}

/// An example that is not what its field takes would be no help: an API server's own decoder reads all of them at once.
#[test]
fn the_examples_of_fields_are_taken() {
    for crd in egret_api::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()) {
        let kind = text(&crd["spec"]["names"]["kind"]).to_owned();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let Some(kind) = egret_api::Kind::of(&format!("{}/{}", egret_api::GROUP, egret_api::VERSION), &kind)
        else {
            continue;
        };
        let fields = spec["properties"].as_object().unwrap();
        let shown =
            fields.iter().filter_map(|(name, field)| Some((name.clone(), field.get("example")?.clone())));
        let spec: serde_json::Map<String, Value> = shown.collect();
        if !spec.is_empty() {
            let object = serde_json::json!({"metadata": {"name": "shown"}, "spec": spec});
            kind.decode(object).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    }
}
