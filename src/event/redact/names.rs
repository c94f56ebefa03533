//! Which names stand before secrets: keys, variables, flags, headers.
//!
//! A name is split into words at `_`, `-`, `.`, blanks and at the humps of camel case; its last words decide. So `api_key`,
//! `apiKey` and `X-Api-Key` are one, and `max_tokens`, `token_count` and `secret_name` are none.

use super::starts::Starts;

/// The beginnings of all words that can make a name a secret's: a text without them holds no such name, and nearly every
/// name is told so.
const TELLING: Starts = {
    const WORDS: [&[u8]; 13] = [
        b"pas", b"pwd", b"sec", b"cre", b"coo", b"see", b"tok", b"key", b"sig", b"aut", b"bea", b"jwt",
        b"psk",
    ];
    let mut starts = Starts::new();
    let mut at = 0;
    while at < WORDS.len() {
        starts = starts.with(WORDS[at], true);
        at += 1;
    }
    starts
};

/// The next place from `from` on where a word may begin that makes a name a secret's.
pub(super) fn next_telling(bytes: &[u8], from: usize) -> Option<usize> {
    TELLING.next(bytes, from)
}

/// How much a name says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Whatever stands there is secret: passwords are short and look like words.
    Password,
    /// What stands there is secret if it looks like a token: these names have other uses too.
    Token,
    /// What stands there is secret if it can hardly be anything else: these names mostly have other uses.
    Random,
    /// The whole rest of the line is secret: several words, or several values.
    Line,
}

/// What a name and the nearest one above it say together: the nearer, unless it says less.
pub(super) fn nearest(class: Option<Class>, under: Option<Class>) -> Option<Class> {
    if class == Some(Class::Random) { under.or(class) } else { class.or(under) }
}

/// The longest name that is looked at.
pub(super) const NAME_BYTES_MAX: usize = 96;

const PASSWORDS: &[&str] =
    &["password", "passwords", "passwd", "pwd", "passcode", "secret", "secrets", "credential", "credentials"];

const LINES: &[&str] = &["passphrase", "cookie", "cookies"];

/// Words that say "token" by themselves.
const TOKENS: &[&str] = &[
    "token",
    "authtoken",
    "apikey",
    "apikeys",
    "apitoken",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "sessiontoken",
    "bearertoken",
    "bottoken",
    "accesskey",
    "secretkey",
    "privatekey",
    "authkey",
    "authorization",
    "bearer",
    "jwt",
    "accountkey",
    "sharedaccesskey",
    "sig",
    "psk",
];

/// What makes `key` a secret one.
const SECRET_KEYS: &[&str] = &[
    "api",
    "access",
    "secret",
    "private",
    "encryption",
    "signing",
    "account",
    "shared",
    "auth",
    "session",
    "master",
    "license",
    "service",
    "deploy",
    "ssh",
    "gpg",
    "app",
    "application",
    "decryption",
    "hmac",
    "subscription",
    "admin",
    "client",
];

/// Words before `token` that make it a place in a list or a part of a language.
const PLAIN_TOKENS: &[&str] = &[
    "page",
    "next",
    "continuation",
    "stop",
    "eos",
    "bos",
    "pad",
    "unk",
    "mask",
    "special",
    "sep",
    "cls",
    "first",
    "last",
    "previous",
    "prev",
    "lookahead",
    "syntax",
    "cancellation",
    "sync",
    "per",
    "start",
    "end",
];

/// Words that may follow the telling one.
const QUALIFIERS: &[&str] = &[
    "value",
    "text",
    "plain",
    "plaintext",
    "hash",
    "str",
    "string",
    "b64",
    "base64",
    "raw",
    "header",
    "env",
];

/// What the name says, if anything.
pub(super) fn class_of(name: &str) -> Option<Class> {
    // Letters that are no ASCII may become such when they are made small.
    let may_tell =
        name.len() <= NAME_BYTES_MAX && (!name.is_ascii() || next_telling(name.as_bytes(), 0).is_some());
    if may_tell { judge(name) } else { None }
}

fn judge(name: &str) -> Option<Class> {
    let words = words_of(name);
    let mut words: Vec<&str> = words
        .iter()
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| !word.is_empty())
        .collect();
    while words.len() > 1 && QUALIFIERS.contains(words.last()?) {
        words.pop();
    }
    let (last, before) = words.split_last()?;
    let previous = before.last().copied();
    if LINES.contains(last) || (matches!(*last, "phrase" | "words") && previous == Some("seed")) {
        return Some(Class::Line);
    }
    let password = PASSWORDS.contains(last)
        || ["password", "passwd", "secret"].iter().any(|end| last.ends_with(end))
        || (*last == "pass"
            && previous.is_some_and(|word| {
                !matches!(word, "first" | "second" | "one" | "each" | "per" | "test" | "tests")
            }));
    if password {
        return Some(Class::Password);
    }
    let token = match *last {
        "token" => !previous.is_some_and(|word| PLAIN_TOKENS.contains(&word)),
        "key" | "keys" => previous.is_some_and(|word| SECRET_KEYS.contains(&word)),
        "signature" => previous == Some("amz"),
        // `_auth` of a package manager's settings is a secret; plain `auth` is a module, a scheme, a route, and what a
        // container registry wants.
        "auth" if !name.starts_with('_') && !name.ends_with(":_auth") => return Some(Class::Random),
        "auth" => true,
        // `secret_key_base` of Rails.
        "base" => previous == Some("key") && before.iter().rev().nth(1) == Some(&"secret"),
        word => TOKENS.contains(&word),
    };
    token.then_some(Class::Token)
}

/// Keys whose values are never touched: ids that join events to one another, and places.
pub(super) fn is_untouched(name: &str) -> bool {
    if matches!(name, "cwd" | "transcript_path" | "agent_transcript_path" | "id" | "inode" | "segment") {
        return true;
    }
    if name.is_ascii() && !name.as_bytes().windows(2).any(|two| two.eq_ignore_ascii_case(b"id")) {
        return false;
    }
    let words = words_of(name);
    match words.last().map(String::as_str) {
        Some("uuid" | "uuids") => true,
        // The agent's and our own ids; an access key's id is part of a secret pair.
        Some("id" | "ids") => !words.iter().any(|word| matches!(word.as_str(), "key" | "secret" | "token")),
        _ => words.iter().any(|word| word == "uuid"),
    }
}

/// The words of a name, in small letters.
fn words_of(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let hump = c.is_uppercase()
            && at > 0
            && (chars[at - 1].is_lowercase()
                || chars[at - 1].is_ascii_digit()
                || (chars[at - 1].is_uppercase()
                    && chars.get(at + 1).is_some_and(|next| next.is_lowercase())));
        if (!c.is_alphanumeric() || hump) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_their_last_words() {
        for name in [
            "password",
            "PASSWORD",
            "db_password",
            "dbPassword",
            "DB-PASSWORD",
            "PGPASSWORD",
            "client_secret",
            "clientSecret",
            "spring.datasource.password",
            "password1",
            "DB_PASS",
            "credentials",
            "password_hash",
            "newPassword",
        ] {
            assert_eq!(class_of(name), Some(Class::Password), "{name}");
        }
        for name in [
            "token",
            "api_key",
            "apiKey",
            "APIKey",
            "X-Api-Key",
            "apikey",
            "OPENAI_API_KEY",
            "access_token",
            "GITHUB_TOKEN",
            "Authorization",
            "private_key",
            "authToken",
            "_auth",
            "AWS_SECRET_ACCESS_KEY",
            "X-Amz-Signature",
            "AccountKey",
            "secret_key_base",
            "SECRET_KEY_BASE",
            "psk",
            "wpa-psk",
        ] {
            assert_eq!(class_of(name), Some(Class::Token), "{name}");
        }
        for name in ["auth", "basic_auth", "x.auth"] {
            assert_eq!(class_of(name), Some(Class::Random), "{name}");
        }
        for name in [
            "max_tokens",
            "maxTokens",
            "token_count",
            "tokenCount",
            "input_tokens",
            "tokenizer",
            "secret_name",
            "key",
            "keyboard",
            "public_key",
            "password_policy",
            "passwordLength",
            "token_type",
            "next_page_token",
            "author",
            "oauth",
            "authority",
            "key_base",
            "secret_base",
            "psk-flags",
            "",
            "compass",
            "pass",
            "secretary",
            "stop_token",
            "token_id",
            "path",
        ] {
            assert_eq!(class_of(name), None, "{name}");
        }
    }

    #[test]
    fn no_name_is_passed_over_for_what_its_words_begin_with() {
        let words: Vec<&str> =
            [PASSWORDS, LINES, TOKENS, QUALIFIERS, &["pass", "phrase", "words", "key", "keys", "auth"]]
                .concat()
                .into_iter()
                .chain(["seed", "amz", "signature", "db", "", "1"])
                .chain(SECRET_KEYS.iter().copied())
                .collect();
        let mut told = 0;
        for one in &words {
            for two in &words {
                for name in
                    [format!("{one}_{two}"), format!("{one}{}", two.to_uppercase()), format!("x.{one}-{two}")]
                {
                    let judged = judge(&name);
                    assert_eq!(class_of(&name), judged, "{name}");
                    told += usize::from(judged.is_some());
                }
            }
        }
        assert!(told > 1_000, "only {told} names tell anything");
        assert_eq!(class_of("TO\u{212a}EN"), Some(Class::Token), "a Kelvin sign is a k in small letters");
    }

    #[test]
    fn ids_and_places_are_left_alone() {
        for name in [
            "tool_use_id",
            "toolUseId",
            "agent_id",
            "message_id",
            "uuid",
            "parentUuid",
            "last_uuid",
            "leafUuid",
            "cwd",
            "transcript_path",
            "session_id",
            "memory_ids",
        ] {
            assert!(is_untouched(name), "{name}");
        }
        for name in ["aws_access_key_id", "command", "text", "identity", "secret_id"] {
            assert!(!is_untouched(name), "{name}");
        }
    }
}
