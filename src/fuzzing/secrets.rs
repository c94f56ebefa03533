//! Redaction: a planted secret is gone whatever stands around it, and doing it again changes nothing.

use super::events::hook;
use crate::event::{Event, PayloadText, Redactor};

/// Each is known by its own shape, so that no name beside it is needed. Made up.
pub(super) const SECRETS: [&str; 4] = [
    "sk-ant-api03-mT4xQ9vKzB7nYw2LhRj8PcUe5aGs0dXf6oIkVqNt3MbZrCyWpHuDgSlAJ1E-QzFwTA",
    "ghp_w8RzN2kVbQ5tYxH7mJcL4dPfS9gUaE3oKiTq",
    "AKIA4QW7ERTX5UZP2LNB",
    "xoxb-2871936405-8437561920-hV7kQ2mZpL9xRwT4cBnYdJfS",
];

pub(super) fn text(bytes: &[u8]) {
    text_with(bytes, &Redactor::new());
}

pub(super) fn text_with(bytes: &[u8], redactor: &Redactor) {
    let text = String::from_utf8_lossy(bytes);
    let once = redactor.text(&text).into_owned();
    assert_eq!(redactor.text(&once), once, "redacting twice is redacting once");
    let (secret, planted) = plant(bytes);
    // Fuzzers find out what is looked for, and put it where it is part of a longer word and so no secret.
    if planted.matches(secret).count() > 1 {
        return;
    }
    let redacted = redactor.text(&planted);
    assert!(!redacted.contains(secret), "{secret} is still there: {redacted:?}");
}

/// The text with a secret on a line of its own. The first bytes say which and where.
fn plant(bytes: &[u8]) -> (&'static str, String) {
    let (head, rest) = bytes.split_at(bytes.len().min(2));
    let secret = SECRETS[usize::from(head.first().copied().unwrap_or(0)) % SECRETS.len()];
    let text = String::from_utf8_lossy(rest);
    let mut at = text.len() * usize::from(head.get(1).copied().unwrap_or(0)) / 256;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    (secret, format!("{}\n{secret}\n{}", &text[..at], &text[at..]))
}

pub(super) fn text_seeds() -> Vec<Vec<u8>> {
    [
        "\0\0",
        "\u{1}\u{40}curl -H 'Authorization: Bearer abcdefghijklmnopqrstuvwxyz012345' https://u:p@host/x",
        "\u{2}\u{7f}-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n",
        "\u{3}\u{10}{\"password\":\"hunter2hunter2\",\"note\":\"{\\\"api_key\\\": \\\"x1y2z3x1y2z3\\\"}\"}",
        "\0\u{20}export TOKEN=abcdef0123456789abcdef; the password is correcthorse9battery",
        "\u{2}\u{50}define('TEXT_PASSWORD', 'Your password:'); x = input(\"Token: \") {password:'hunter2hunter2'}",
        "\u{3}\u{60}{\"headers\":[[\"Authorization\",\"Token x1y2z3x1y2z3\"],[\"X-Api-Key\",\"abcdefghijklmnopqrst\"]]}",
        "\u{1}\u{30}https://hooks.example.com/services/T000/B000/abcdefghijklmnopqrstuvwx",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// A secret in any string or key of an event's payload: afterwards no byte of the event's disk form shows it.
pub(super) fn event(bytes: &[u8]) {
    let Ok(mut event) = hook(bytes) else { return };
    let secret = SECRETS[bytes.len() % SECRETS.len()];
    // Fuzzers find out what is looked for; in an id or a path it would stay, on purpose.
    if event.payload.as_str().contains(secret)
        || event.encode().windows(secret.len()).any(|part| part == secret.as_bytes())
    {
        return;
    }
    let mut payload = event.payload.to_json();
    plant_in(&mut payload, secret);
    let Ok(planted) = PayloadText::from_json(&payload) else { return };
    event.payload = planted;
    event.redact(&Redactor::new());
    let bytes = event.encode();
    assert!(
        !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
        "{}",
        event.payload.as_str()
    );
    assert_eq!(Event::decode(&bytes).as_ref(), Ok(&event));
}

/// Adds the secret to every string that may hold one.
fn plant_in(value: &mut serde_json::Value, secret: &str) {
    match value {
        serde_json::Value::String(text) => *text = format!("{text}\n{secret}\n"),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| plant_in(item, secret)),
        serde_json::Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                // Ids and places are left alone on purpose; see the redactor.
                if !crate::event::redact::is_untouched(key) {
                    plant_in(value, secret);
                }
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
