//! A strict JSON reader (RFC 8259, narrowed towards I-JSON, RFC 7493).
//!
//! A signature is worth nothing when two readers of the same text see two different values. So this reader refuses
//! whatever readers disagree about: duplicate members, lone surrogates, NaN, integers that a double does not carry.
//! `serde_json` merges the first and rounds the last in silence, which is why the reader is written out here.
//!
//! Numbers with a fraction or an exponent are doubles, rounded to nearest as RFC 8785 section 3.2.2.3 has it:
//! `0.12345678901234567890` is read, and signed as `0.12345678901234568`. `1`, `1.0` and `1e0` are one number, and
//! `-0` is `0`. Integers are exact or refused: they may be anything up to ±(2^53 − 1), as in
//! I-JSON (RFC 7493 section 2.2): beyond, two integers may be one double.

use std::fmt;

use serde_json::{Map, Number, Value};

/// How many arrays and objects may be inside one another.
pub const MAX_DEPTH: usize = 64;

/// 2^53 − 1: the largest magnitude of an integer, written without fraction and exponent, that is accepted (RFC 7493 section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Member names with this prefix mean something else to some builds of `serde_json` than to any other reader.
pub const RESERVED_PREFIX: &str = "$serde_json::private::";

/// A path in an error shows this many characters of a member's name.
const MAX_SHOWN_NAME: usize = 64;

/// Reads one JSON value that fills `bytes`.
///
/// # Errors
///
/// The first [`Problem`] met, with its place.
pub fn read(bytes: &[u8]) -> Result<Value, JsonError> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::new(Problem::NotUtf8, error.valid_up_to()))?;
    let mut reader = Reader { text, at: 0 };
    reader.skip_white_space();
    let value = reader.value(0)?;
    reader.skip_white_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.problem(Problem::Trailing)),
    }
}

/// Reads one JSON object that fills `bytes`.
///
/// # Errors
///
/// As [`read`], and [`Problem::NotAnObject`].
pub fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match read(bytes)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::new(Problem::NotAnObject, 0))
        }
    }
}

/// Why a text is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    problem: Problem,
    offset: usize,
    /// From the inside out, as the error travels up.
    path: Vec<String>,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Something else stands where the grammar wants what is named.
    #[error("expected {0}")]
    Expected(&'static str),
    /// The text ends inside a value.
    #[error("the text ends in the middle")]
    Ended,
    /// Something follows the value.
    #[error("something follows the JSON value")]
    Trailing,
    /// The value is not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// An object names a member twice.
    #[error("the member occurs twice")]
    DuplicateMember,
    /// A member's name begins with [`RESERVED_PREFIX`].
    #[error("member names that begin with {RESERVED_PREFIX} are reserved")]
    ReservedMember,
    /// A control character stands in a string without being escaped.
    #[error("a control character in a string must be escaped")]
    ControlCharacter,
    /// A backslash is followed by something that JSON does not know.
    #[error("an escape that JSON does not have")]
    Escape,
    /// Half of a surrogate pair: no Unicode text has it.
    #[error("a lone surrogate is not a character")]
    LoneSurrogate,
    /// `NaN`, `Infinity` or `-Infinity`.
    #[error("NaN and Infinity are not JSON")]
    NotFinite,
    /// A number that the grammar does not allow, such as `01` or `1.`.
    #[error("not a number as JSON writes it")]
    Number,
    /// An integer beyond [`MAX_INTEGER`].
    #[error("an integer beyond ±(2^53 − 1) is not carried exactly by JSON; send it as a string")]
    InexactInteger,
    /// A number that a double turns into infinity, or into zero though it is not zero.
    #[error("the number is out of the range of an IEEE 754 double")]
    OutOfRange,
    /// More than [`MAX_DEPTH`] arrays and objects inside one another.
    #[error("more than {MAX_DEPTH} arrays and objects inside one another")]
    TooDeep,
}

impl JsonError {
    fn new(problem: Problem, offset: usize) -> Self {
        Self {
            problem,
            offset,
            path: Vec::new(),
        }
    }

    fn inside(mut self, name: impl Into<String>) -> Self {
        self.path.push(name.into());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Where: the number of bytes before the place.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Where: the names and indices from the outermost value to the one at fault; empty at the top level.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.path.iter().rev().map(String::as_str)
    }
}

impl std::error::Error for JsonError {}

/// `an integer beyond … at /tokens/input (byte 17)`: the path is a JSON Pointer (RFC 6901).
impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at ", self.problem)?;
        if self.path.is_empty() {
            f.write_str("the top level")?;
        }
        for name in self.path() {
            let shown: String = name.chars().take(MAX_SHOWN_NAME).collect();
            let cut = if shown.len() < name.len() { "…" } else { "" };
            write!(f, "/{}{cut}", shown.replace('~', "~0").replace('/', "~1"))?;
        }
        write!(f, " (byte {})", self.offset)
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Always on a character boundary.
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn problem(&self, problem: Problem) -> JsonError {
        JsonError::new(problem, self.at)
    }

    fn expected(&self, what: &'static str) -> JsonError {
        self.problem(if self.peek().is_none() {
            Problem::Ended
        } else {
            Problem::Expected(what)
        })
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let from = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - from
    }

    fn skip_white_space(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.problem(Problem::TooDeep)),
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.array(depth + 1).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(_) => self.word(),
            None => Err(self.problem(Problem::Ended)),
        }
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        if self.rest().starts_with("NaN") || self.rest().starts_with("Infinity") {
            return Err(self.problem(Problem::NotFinite));
        }
        Err(self.expected("a value"))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_white_space();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            self.skip_white_space();
            let item = self
                .value(depth)
                .map_err(|error| error.inside(items.len().to_string()))?;
            items.push(item);
            self.skip_white_space();
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>, JsonError> {
        self.at += 1;
        let mut members = Map::new();
        self.skip_white_space();
        if self.take(b'}') {
            return Ok(members);
        }
        loop {
            self.skip_white_space();
            let name_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.expected("a member's name in quotes"));
            }
            let name = self.string()?;
            if name.starts_with(RESERVED_PREFIX) {
                return Err(JsonError::new(Problem::ReservedMember, name_at).inside(name));
            }
            if members.contains_key(&name) {
                return Err(JsonError::new(Problem::DuplicateMember, name_at).inside(name));
            }
            self.skip_white_space();
            if !self.take(b':') {
                return Err(self.expected("`:`"));
            }
            self.skip_white_space();
            match self.value(depth) {
                Ok(value) => members.insert(name, value),
                Err(error) => return Err(error.inside(name)),
            };
            self.skip_white_space();
            if self.take(b'}') {
                return Ok(members);
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let from = self.at;
            self.skip_while(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
            string.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(_) => return Err(self.problem(Problem::ControlCharacter)),
                None => return Err(self.problem(Problem::Ended)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let character = match self.text.as_bytes().get(start + 1) {
            Some(b'u') => return self.unicode_escape(),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(_) => return Err(self.problem(Problem::Escape)),
            None => return Err(self.problem(Problem::Ended)),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let first = self.code_unit()?;
        let mut units = vec![first];
        if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            units.push(self.code_unit()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(character),
            Some(Err(_)) | None => Err(JsonError::new(Problem::LoneSurrogate, start)),
        }
    }

    /// Reads `\uXXXX`.
    fn code_unit(&mut self) -> Result<u16, JsonError> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at + 2..self.at + 6)
            .ok_or_else(|| self.problem(Problem::Ended))?;
        let mut unit = 0;
        for digit in digits {
            let value = char::from(*digit)
                .to_digit(16)
                .ok_or_else(|| self.problem(Problem::Escape))?;
            unit = unit * 16 + value;
        }
        self.at += 6;
        u16::try_from(unit).map_err(|_| self.problem(Problem::Escape))
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        let refused = |problem| Err(JsonError::new(problem, start));
        let digits = |reader: &mut Self| reader.skip_while(|byte| byte.is_ascii_digit());
        let negative = self.take(b'-');
        if self.rest().starts_with("Infinity") {
            return refused(Problem::NotFinite);
        }
        let leading_zero = self.peek() == Some(b'0');
        let integer_digits = digits(self);
        if integer_digits == 0 || (leading_zero && integer_digits > 1) {
            return refused(Problem::Number);
        }
        let mut is_integer = true;
        if self.take(b'.') {
            is_integer = false;
            if digits(self) == 0 {
                return refused(Problem::Number);
            }
        }
        if self.take(b'e') || self.take(b'E') {
            is_integer = false;
            let _sign = self.take(b'+') || self.take(b'-');
            if digits(self) == 0 {
                return refused(Problem::Number);
            }
        }
        let literal = &self.text[start..self.at];

        let minus_zero = negative && literal == "-0";
        if is_integer && !minus_zero {
            return match literal.parse::<i64>() {
                Ok(integer) if integer.unsigned_abs() <= MAX_INTEGER => Ok(integer.into()),
                Ok(_) | Err(_) => refused(Problem::InexactInteger),
            };
        }
        let double: f64 = literal
            .parse()
            .map_err(|_| JsonError::new(Problem::Number, start))?;
        let mantissa = literal.split(['e', 'E']).next().unwrap_or_default();
        let vanished = double == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        match Number::from_f64(double) {
            Some(number) if !vanished => Ok(number),
            Some(_) | None => refused(Problem::OutOfRange),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    fn problem(text: &str) -> Problem {
        read(text.as_bytes()).unwrap_err().problem().clone()
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            r#"{"a":[1,-2,3.5,1e3,-0,-0.0,0],"b":{"c":null,"d":true,"e":false}}"#,
            r#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude02é😂""#,
            "9007199254740991",
            "-9007199254740991",
            "1e22",
            "1E-300",
            "0.1",
            "0.12345678901234567890",
            "5e-324",
            "1.7976931348623157e308",
            "0e999999999999",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn every_refusal_names_the_reason_and_the_place() {
        assert_eq!(
            refusal(r#"{"a":{"b":1,"b":2}}"#),
            "the member occurs twice at /a/b (byte 12)"
        );
        assert_eq!(
            refusal(r#"{"a":1,"\u0061":2}"#),
            "the member occurs twice at /a (byte 7)"
        );
        assert_eq!(
            refusal(r#"{"t":["x","\ud800"]}"#),
            "a lone surrogate is not a character at /t/1 (byte 11)"
        );
        assert_eq!(
            refusal(r#"["\ud800\u0041"]"#),
            "a lone surrogate is not a character at /0 (byte 2)"
        );
        assert_eq!(
            refusal(r#""\udc00""#),
            "a lone surrogate is not a character at the top level (byte 1)"
        );
        assert_eq!(
            refusal(r#"{"tokens":{"input":9007199254740993}}"#),
            "an integer beyond ±(2^53 − 1) is not carried exactly by JSON; send it as a string at /tokens/input (byte 19)"
        );
        assert_eq!(
            refusal(r#"{"cost":[1E400]}"#),
            "the number is out of the range of an IEEE 754 double at /cost/0 (byte 9)"
        );
        assert_eq!(
            refusal(r#"{"x":NaN}"#),
            "NaN and Infinity are not JSON at /x (byte 5)"
        );
        assert_eq!(
            refusal(r#"{"x":{"$serde_json::private::Number":"1"}}"#),
            "member names that begin with $serde_json::private:: are reserved at \
             /x/$serde_json::private::Number (byte 6)"
        );
        assert_eq!(
            refusal(r#"{"a/b":{"~":01}}"#),
            "not a number as JSON writes it at /a~1b/~0 (byte 12)"
        );
        assert_eq!(
            refusal("[1] 2"),
            "something follows the JSON value at the top level (byte 4)"
        );
        assert_eq!(
            read(b"{\"a\":\"\xff\"}").unwrap_err().to_string(),
            "the text is not UTF-8 at the top level (byte 6)"
        );
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for literal in [
            "9007199254740992",
            "-9007199254740992",
            "-9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "100000000000000000000",
        ] {
            assert_eq!(problem(literal), Problem::InexactInteger, "{literal}");
        }
        for literal in ["1e309", "-1e309", "1e-400", "-0.0000001e-400"] {
            assert_eq!(problem(literal), Problem::OutOfRange, "{literal}");
        }
        for literal in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(problem(literal), Problem::NotFinite, "{literal}");
        }
        for literal in ["01", "-01", "1.", "-", "1e", "1e+", "-x", "00", "1.e5"] {
            assert_eq!(problem(literal), Problem::Number, "{literal}");
        }
        for literal in ["+1", ".5", "nan", "0x10x"] {
            assert!(read(literal.as_bytes()).is_err(), "{literal}");
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "[1",
            "[1,",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "\"\\",
            "\"\\u12",
            "nul",
        ] {
            assert!(
                matches!(problem(text), Problem::Ended | Problem::Expected(_)),
                "{text}"
            );
        }
        for text in [
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "[1 2]",
            "{\"a\" 1}",
            "tru",
            "\u{feff}{}",
            "{\"a\":1;}",
        ] {
            assert!(
                matches!(problem(text), Problem::Expected(_) | Problem::Ended),
                "{text}"
            );
        }
        assert_eq!(problem("\"a\nb\""), Problem::ControlCharacter);
        assert_eq!(problem("\"\\x41\""), Problem::Escape);
        assert_eq!(problem("\"\\u00g0\""), Problem::Escape);
        assert_eq!(problem("\"\\u+123\""), Problem::Escape);
        assert_eq!(problem("\"\\u00é\""), Problem::Escape);
        assert_eq!(problem("[] x"), Problem::Trailing);
        assert_eq!(read_object(b"[]").unwrap_err().problem(), &Problem::NotAnObject);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(problem(&nested(MAX_DEPTH + 1)), Problem::TooDeep);
        assert_eq!(problem(&"[".repeat(1_000_000)), Problem::TooDeep);
    }

    #[test]
    fn an_error_does_not_repeat_a_huge_name() {
        let error = refusal(&json!({"x".repeat(1_000_000): u64::MAX}).to_string());
        assert!(error.len() < 300, "{error}");
    }
}
