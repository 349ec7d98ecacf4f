//! One walk over a JSON text for what a typed reader would let pass: duplicate members, NUL characters, reserved names.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::api::problem::Problem;
use crate::error::Violation;

/// serde_json gives members so named a meaning of its own.
const RESERVED: &str = "$serde_json::private::";

/// Refuses text that is not JSON, and JSON whose meaning is uncertain or that a database cannot hold.
pub(super) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let walk = Walk::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let outcome = Value(&walk)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let Err(error) = outcome else {
        return Ok(());
    };
    let path = walk.path.take();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let invalid = |message: &str| Problem::invalid(vec![Violation::body(&path, message)]);
    Err(match walk.fault.take() {
        Some(Fault::Duplicate) => {
            Problem::malformed(format!("the body has the member {} twice", path.join(".")))
        }
        Some(Fault::Nul) => invalid("must not contain the character U+0000"),
        Some(Fault::Reserved) => invalid("has a reserved name"),
        None if error.to_string().starts_with("number out of range") => invalid("is a number out of range"),
        None => Problem::malformed(format!("the body is not valid JSON: {error}")),
    })
}

#[derive(Default)]
struct Walk {
    path: RefCell<Vec<String>>,
    fault: RefCell<Option<Fault>>,
}

enum Fault {
    Duplicate,
    Nul,
    Reserved,
}

impl Walk {
    /// Stops the walk; the path stays where it is.
    fn stop<E: serde::de::Error>(&self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            Err(self.stop(Fault::Nul))
        } else {
            Ok(())
        }
    }
}

struct Value<'w>(&'w Walk);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.0.path.borrow_mut().push(index.to_string());
            let more = seq.next_element_seed(Value(self.0))?.is_some();
            self.0.path.borrow_mut().pop();
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.0.path.borrow_mut().push(name.clone());
            self.0.text::<A::Error>(&name)?;
            if name.starts_with(RESERVED) {
                return Err(self.0.stop(Fault::Reserved));
            }
            if !seen.insert(name) {
                return Err(self.0.stop(Fault::Duplicate));
            }
            map.next_value_seed(Value(self.0))?;
            self.0.path.borrow_mut().pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;

    use super::*;

    fn status(text: &str) -> u16 {
        match check(text.as_bytes()) {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[test]
    fn plain_json_passes() {
        assert_eq!(
            status(r#"{"a":[1,-2,3.5,1e300,true,null,"x",{"a":1}],"b":{}}"#),
            200
        );
    }

    #[test]
    fn text_that_is_not_json_is_malformed() {
        let deep = "[".repeat(200);
        for text in [
            "",
            "{",
            "{}x",
            "{'a':1}",
            "[1,]",
            "NaN",
            "\"\\ud800\"",
            deep.as_str(),
        ] {
            assert_eq!(status(text), 400, "{text}");
        }
    }

    #[test]
    fn a_member_given_twice_is_malformed_at_any_depth() {
        assert_eq!(status(r#"{"a":1,"a":1}"#), 400);
        assert_eq!(status(r#"{"x":[{"a":1,"\u0061":2}]}"#), 400);
    }

    #[test]
    fn what_a_database_cannot_hold_breaks_a_rule() {
        assert_eq!(status(r#"{"a":"x\u0000y"}"#), 422);
        assert_eq!(status(r#"{"a\u0000":1}"#), 422);
        assert_eq!(status(r#"{"$serde_json::private::Number":"1"}"#), 422);
        assert_eq!(status(r#"{"cost":1e999}"#), 422);
    }
}
