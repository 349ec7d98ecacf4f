//! Server-sent events (WHATWG HTML, section 9.2.6).

use std::time::Duration;

use crate::http::Error;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when the peer names none.
    pub event: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// Reads events out of bytes, however those are cut.
#[derive(Debug)]
pub struct Parser {
    max_bytes: usize,
    /// Bytes of lines that are not read yet.
    unread: Vec<u8>,
    /// How many of them hold no end of a line for sure.
    searched: usize,
    /// Whether a line feed that comes next belongs to the carriage return before it.
    after_return: bool,
    at_start: bool,
    event: String,
    data: Option<String>,
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// A parser that refuses events and lines longer than `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            unread: Vec::new(),
            searched: 0,
            after_return: false,
            at_start: true,
            event: String::new(),
            data: None,
            last_id: String::new(),
            retry: None,
        }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next event; none when the bytes so far hold no more.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        let max_bytes = self.max_bytes;
        let mut read = 0;
        let mut found = None;
        while found.is_none() {
            if self.after_return && read < self.unread.len() {
                self.after_return = false;
                read += usize::from(self.unread[read] == b'\n');
            }
            let from = read.max(self.searched);
            let Some(end) = self.unread[from..]
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'\r'))
            else {
                self.searched = self.unread.len();
                break;
            };
            let end = from + end;
            self.after_return = self.unread[end] == b'\r';
            let mut line = String::from_utf8_lossy(&self.unread[read..end]).into_owned();
            read = end + 1;
            if std::mem::take(&mut self.at_start) && line.starts_with('\u{feff}') {
                line.remove(0);
            }
            found = self.line(&line);
            if self.data.as_ref().is_some_and(|data| data.len() > max_bytes) {
                return Err(Error::TooLarge { max_bytes });
            }
        }
        self.unread.drain(..read);
        self.searched = self.searched.saturating_sub(read);
        if found.is_none() && self.unread.len() > max_bytes {
            return Err(Error::TooLarge { max_bytes });
        }
        Ok(found)
    }

    /// The id of the last event that had one.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The time before connecting again that the peer last asked for.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| Event {
                event: if event.is_empty() {
                    "message".to_owned()
                } else {
                    event
                },
                data,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment (nothing before the colon), or a field of a later day.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events of `stream`, cut into pieces of every length.
    #[track_caller]
    fn events(stream: &str) -> Vec<(String, String)> {
        let read = |length| {
            let mut parser = Parser::new(64);
            let mut events = Vec::new();
            for piece in stream.as_bytes().chunks(length) {
                parser.push(piece);
                while let Ok(Some(event)) = parser.event() {
                    events.push((event.event, event.data));
                }
            }
            events
        };
        let whole = read(stream.len());
        for length in 1..stream.len() {
            assert_eq!(read(length), whole, "in pieces of {length} bytes");
        }
        whole
    }

    fn message(data: &str) -> (String, String) {
        ("message".to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        assert_eq!(events("data: a\n\ndata:b\n\n"), [message("a"), message("b")]);
        assert_eq!(events("data: a\ndata: b\n\n"), [message("a\nb")]);
        assert_eq!(events("data: a\r\ndata: ä\r\n\r\n"), [message("a\nä")]);
        assert_eq!(events("data: a\r\rdata: b\r\r"), [message("a"), message("b")]);
        assert_eq!(
            events(": comment\n\nevent: endpoint\ndata: /x\n\n"),
            [("endpoint".to_owned(), "/x".to_owned())]
        );
        assert_eq!(events("event: lost\n\ndata: a\n\n"), [message("a")]);
        assert_eq!(events("\u{feff}data: a\n\n"), [message("a")]);
        assert_eq!(events("data\n\n"), [message("")]);
        assert_eq!(events("data: never ended\n"), []);
    }

    #[test]
    fn ids_and_times_are_remembered() {
        let mut parser = Parser::new(64);
        parser.push(b"id: 7\nretry: 250\ndata: a\n\nid: x\0\nretry: soon\ndata: b\n\n");
        assert!(matches!(parser.event(), Ok(Some(_))));
        assert!(matches!(parser.event(), Ok(Some(_))));
        assert_eq!(
            (parser.last_id(), parser.retry()),
            ("7", Some(Duration::from_millis(250)))
        );
    }

    #[test]
    fn events_that_are_too_long_are_refused() {
        let too_large = Err(Error::TooLarge { max_bytes: 64 });
        let mut parser = Parser::new(64);
        parser.push(&[b'x'; 65]);
        assert_eq!(parser.event(), too_large);

        let mut parser = Parser::new(64);
        for _ in 0..9 {
            parser.push(b"data: 1234567\n");
        }
        assert_eq!(parser.event(), too_large);
    }
}
