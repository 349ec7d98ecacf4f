//! What checking a value would cost: how many times a subschema meets a part of the value, counted without doing it.
//!
//! References let a short schema multiply without bound, alone or together with a deep value. Each pair of subschema and part is counted
//! once, however many ways lead to it, so that counting itself stays small.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Uncheckable;

/// Most meetings of a subschema and a part of the value; well below a second of work.
pub(super) const MOST_STEPS: u64 = 2_000_000;
/// Most distinct pairs looked at while counting.
const MOST_PAIRS: usize = 500_000;

/// What holds the subschemas of a keyword.
#[derive(Clone, Copy)]
enum Shape {
    /// A subschema, or a list of them.
    OneOrMany,
    /// Subschemas by name.
    Named,
}

/// Keywords whose subschemas meet the same part of the value (JSON Schema 2020-12 section 10.2, and older forms).
const IN_PLACE: [(&str, Shape); 9] = [
    ("allOf", Shape::OneOrMany),
    ("anyOf", Shape::OneOrMany),
    ("oneOf", Shape::OneOrMany),
    ("not", Shape::OneOrMany),
    ("if", Shape::OneOrMany),
    ("then", Shape::OneOrMany),
    ("else", Shape::OneOrMany),
    ("dependentSchemas", Shape::Named),
    ("dependencies", Shape::Named),
];
/// Keywords whose subschemas meet members or elements (section 10.3), counted as if they met all of them.
const DOWN: [(&str, Shape); 9] = [
    ("patternProperties", Shape::Named),
    ("additionalProperties", Shape::OneOrMany),
    ("unevaluatedProperties", Shape::OneOrMany),
    ("propertyNames", Shape::OneOrMany),
    ("items", Shape::OneOrMany),
    ("prefixItems", Shape::OneOrMany),
    ("additionalItems", Shape::OneOrMany),
    ("unevaluatedItems", Shape::OneOrMany),
    ("contains", Shape::OneOrMany),
];

/// Whether checking `value` against `schema` stays within [`MOST_STEPS`].
pub(super) fn within_bounds(schema: &Value, value: &Value) -> Result<(), Uncheckable> {
    let mut count = Count {
        root: schema,
        known: HashMap::new(),
    };
    match count.steps(schema, value)? {
        0..=MOST_STEPS => Ok(()),
        _ => Err(Uncheckable::Effort),
    }
}

struct Count<'a> {
    root: &'a Value,
    /// By the places of subschema and part; `None` while it is being counted.
    known: HashMap<(*const Value, *const Value), Option<u64>>,
}

impl<'a> Count<'a> {
    fn steps(&mut self, schema: &'a Value, part: &'a Value) -> Result<u64, Uncheckable> {
        let Value::Object(keywords) = schema else {
            return Ok(1);
        };
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(part));
        match self.known.get(&pair) {
            Some(Some(steps)) => return Ok(*steps),
            Some(None) => return Err(Uncheckable::Schema("it refers to itself without end".to_owned())),
            None if self.known.len() >= MOST_PAIRS => return Err(Uncheckable::Effort),
            None => self.known.insert(pair, None),
        };
        if keywords.contains_key("$id") && !std::ptr::eq(schema, self.root) {
            return Err(unsupported("$id", "below the root"));
        }
        let mut steps = own_steps(keywords, part);
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(target) = keywords.get(keyword) {
                let target = self.target(keyword, target)?;
                steps = steps.saturating_add(self.steps(target, part)?);
            }
        }
        for (keyword, shape) in IN_PLACE {
            for subschema in subschemas(keywords.get(keyword), shape) {
                steps = steps.saturating_add(self.steps(subschema, part)?);
            }
        }
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            // What was evaluated is found out by a second pass.
            steps = steps.saturating_mul(2);
        }
        if let (Some(Value::Object(properties)), Value::Object(members)) = (keywords.get("properties"), part)
        {
            for (name, subschema) in properties {
                if let Some(member) = members.get(name) {
                    steps = steps.saturating_add(self.steps(subschema, member)?);
                }
            }
        }
        for (keyword, shape) in DOWN {
            for subschema in subschemas(keywords.get(keyword), shape) {
                for child in children(part) {
                    steps = steps.saturating_add(self.steps(subschema, child)?);
                }
            }
        }
        self.known.insert(pair, Some(steps));
        Ok(steps)
    }

    /// What a reference means. Only JSON Pointers within the schema (RFC 6901 section 6) can be followed and so be counted.
    fn target(&self, keyword: &str, reference: &Value) -> Result<&'a Value, Uncheckable> {
        let Some(reference) = reference.as_str() else {
            return Err(unsupported(keyword, "that is no text"));
        };
        let pointer = reference
            .strip_prefix('#')
            .filter(|pointer| !pointer.contains('%'));
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or_else(|| unsupported(keyword, &format!("to {reference}")))
    }
}

/// Bytes of text that one step looks at.
const BYTES_A_STEP: usize = 64;

/// What the keywords themselves cost that look at a whole text or compare whole values.
fn own_steps(keywords: &Map<String, Value>, part: &Value) -> u64 {
    let looks = [
        "pattern",
        "format",
        "patternProperties",
        "propertyNames",
        "contentEncoding",
        "contentMediaType",
    ];
    let compares = ["enum", "const", "uniqueItems"];
    let looked_at = if looks.iter().any(|keyword| keywords.contains_key(*keyword)) {
        size(part) / BYTES_A_STEP
    } else {
        0
    };
    let compared = compares
        .iter()
        .filter_map(|keyword| keywords.get(*keyword))
        .map(|keyword| keyword.as_array().map_or(1, Vec::len))
        .sum::<usize>();
    let compared = if compared > 0 {
        compared + size(part) / BYTES_A_STEP
    } else {
        0
    };
    u64::try_from(1 + looked_at + compared).unwrap_or(u64::MAX)
}

/// Roughly the bytes that a keyword looks at in a value itself: a text, names of members, elements.
fn size(part: &Value) -> usize {
    match part {
        Value::String(text) => text.len(),
        Value::Object(members) => members.keys().map(String::len).sum(),
        Value::Array(elements) => elements.len() * BYTES_A_STEP,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// How many patterns a schema has, wherever they stand.
pub(super) fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let own = match (name.as_str(), value) {
                    ("pattern", Value::String(_)) => 1,
                    ("patternProperties", Value::Object(named)) => named.len(),
                    _ => 0,
                };
                own + patterns(value)
            })
            .sum(),
        Value::Array(list) => list.iter().map(patterns).sum(),
        _ => 0,
    }
}

fn unsupported(keyword: &str, what: &str) -> Uncheckable {
    Uncheckable::Schema(format!(
        "{keyword} {what} is not supported: refer to places within the schema, such as #/$defs/name"
    ))
}

fn subschemas(keyword: Option<&Value>, shape: Shape) -> Box<dyn Iterator<Item = &Value> + '_> {
    match (keyword, shape) {
        (Some(Value::Array(list)), Shape::OneOrMany) => Box::new(list.iter()),
        (Some(Value::Object(named)), Shape::Named) => Box::new(named.values()),
        (Some(subschema), Shape::OneOrMany) => Box::new(std::iter::once(subschema)),
        (Some(_), Shape::Named) | (None, _) => Box::new(std::iter::empty()),
    }
}

fn children(part: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match part {
        Value::Array(elements) => Box::new(elements.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}
