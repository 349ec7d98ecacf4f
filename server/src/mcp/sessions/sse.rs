//! Server-sent events (WHATWG HTML, section 9.2), read piece by piece within a limit.

use std::time::Duration;

/// One event that was dispatched, or only moved the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The event's name; empty means `message`.
    pub(super) name: String,
    /// The lines of its data.
    pub(super) data: String,
    /// The cursor after it, when the event sets one.
    pub(super) id: Option<String>,
    /// How long to wait before connecting anew, when the event sets it.
    pub(super) retry: Option<Duration>,
}

/// More bytes than permitted in one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Events out of pieces of a stream.
#[derive(Debug)]
pub(super) struct Events {
    max_bytes: usize,
    line: Vec<u8>,
    event: Event,
    bytes: usize,
    after_carriage_return: bool,
    at_start: bool,
}

impl Events {
    /// Events of at most `max_bytes` each.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            line: Vec::new(),
            event: Event::default(),
            bytes: 0,
            after_carriage_return: false,
            at_start: true,
        }
    }

    /// Takes the next piece and gives the events that it completes.
    pub(super) fn read(&mut self, mut piece: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut complete = Vec::new();
        if self.after_carriage_return && !piece.is_empty() {
            self.after_carriage_return = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&piece[..end])?;
            let carriage_return = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if carriage_return {
                match piece {
                    [b'\n', rest @ ..] => piece = rest,
                    [] => self.after_carriage_return = true,
                    _ => {}
                }
            }
            complete.extend(self.end_line());
        }
        self.extend(piece)?;
        Ok(complete)
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        self.bytes += piece.len();
        if self.bytes > self.max_bytes {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = line.as_ref();
        if std::mem::take(&mut self.at_start) {
            line = line.trim_start_matches('\u{feff}');
        }
        if line.is_empty() {
            self.bytes = 0;
            let mut event = std::mem::take(&mut self.event);
            // Each line of data ended with a line feed; the last one does not count.
            event.data.pop();
            return (event != Event::default()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event.name),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => self.event.retry = value.parse().ok().map(Duration::from_millis),
            // A comment, which keeps the connection alive and is not kept itself.
            "" => self.bytes = self.bytes.saturating_sub(line.len()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Event {
        Event {
            data: text.into(),
            ..Event::default()
        }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = "\u{feff}: hello\r\ndata: one\r\ndata:two\r\r\nid: 7\nretry: 50\nevent: message\ndata: {}\n\n:\n\nid: 8\n\ndata\n\nunfinished";
        let expected = [
            data("one\ntwo"),
            Event {
                name: "message".into(),
                data: "{}".into(),
                id: Some("7".into()),
                retry: Some(Duration::from_millis(50)),
            },
            Event {
                id: Some("8".into()),
                ..Event::default()
            },
        ];
        for size in 1..stream.len() {
            let mut events = Events::new(1000);
            let mut found = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                found.extend(events.read(piece).expect("within the limit"));
            }
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_beyond_the_limit_is_refused_though_comments_may_go_on() {
        let mut events = Events::new(10);
        for _ in 0..100 {
            assert_eq!(events.read(b": alive\n"), Ok(Vec::new()));
        }
        assert_eq!(events.read(b"data: 1\n\n"), Ok(vec![data("1")]));
        assert_eq!(events.read(b"data: 2\ndata: 3\n\n"), Err(TooLarge));
    }
}
