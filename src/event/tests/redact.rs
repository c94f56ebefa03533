//! Redaction: a thousand synthetic secrets in many places leave no trace, plain texts stay as they are, and what is cut fits.

use super::codec::{any_event, example};
use crate::event::redact::{PAYLOAD_BYTES_MAX, PLACEHOLDER};
use crate::event::*;
use proptest::prelude::*;
use serde_json::json;

/// A small generator, so that a seed names its secrets on every machine (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn text(&mut self, set: &str, length: usize) -> String {
        let set = set.as_bytes();
        // One of each sort first, so that no text of this length is a plain word by chance.
        (0..length).map(|_| char::from(set[self.below(set.len())])).collect()
    }
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret of each kind: how it stands in a text, with `@` where the secret part is, and that part.
fn secret(kind: usize, random: &mut Random) -> Option<(&'static str, String)> {
    let word = |random: &mut Random, length: usize| {
        format!("{}7q{}", random.text(ALNUM, length / 2), random.text(ALNUM, length - length / 2))
    };
    Some(match kind {
        0 => ("@", format!("sk-ant-api03-{}", random.text(URL, 93))),
        1 => ("@", format!("sk-{}", word(random, 46))),
        2 => ("@", format!("sk-proj-{}", word(random, 60))),
        3 => ("@", format!("ghp_{}", random.text(ALNUM, 36))),
        4 => ("@", format!("github_pat_{}_{}", random.text(ALNUM, 22), random.text(ALNUM, 59))),
        5 => ("@", format!("glpat-{}", random.text(URL, 20))),
        6 => ("@", format!("xoxb-{}-{}", random.text("0123456789", 12), random.text(ALNUM, 24))),
        7 => ("@", format!("AKIA{}", random.text(UPPER, 16))),
        8 => ("@", format!("AIza{}", random.text(URL, 35))),
        9 => ("@", format!("ya29.{}", random.text(URL, 60))),
        10 => ("@", format!("npm_{}", word(random, 34))),
        11 => ("@", format!("pypi-AgEIcHlwaS5vcmc{}", word(random, 60))),
        12 => ("@", format!("SG.{}.{}", word(random, 20), word(random, 41))),
        13 => ("@", format!("sk_live_{}", random.text(ALNUM, 24))),
        14 => ("@", format!("rk_live_{}", random.text(ALNUM, 24))),
        15 => ("@", format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", random.text(URL, 40), random.text(URL, 43))),
        16 => (
            "-----BEGIN RSA PRIVATE KEY-----\n@\n-----END RSA PRIVATE KEY-----",
            format!("MIIE{}", random.text(ALNUM, 64)),
        ),
        17 => ("Authorization: Bearer @", word(random, 30)),
        18 => ("Authorization: Basic @", format!("{}==", word(random, 20))),
        19 => ("postgres://app:@@db.example.com:5432/app", word(random, 12)),
        20 => ("export FOO_TOKEN=@", word(random, 20)),
        21 => ("mytool --password @ run", word(random, 8)),
        22 => ("mysql -u root -p@ app", word(random, 8)),
        23 => ("DB_PASSWORD=@", word(random, 10)),
        24 => ("\"client_secret\": \"@\"", word(random, 24)),
        25 => ("aws_secret_access_key = @", word(random, 38)),
        26 => (
            "https://hooks.slack.com/services/@",
            format!("T{}/B{}/{}", random.text(UPPER, 8), random.text(UPPER, 8), random.text(ALNUM, 24)),
        ),
        27 => ("curl -u admin:@ https://example.com", word(random, 10)),
        28 => ("password: '@'", "abc def ".to_owned() + &word(random, 6)),
        29 => ("https://example.com/?api_key=@&x=1", random.text(HEX, 31) + "7f"),
        30 => ("the api key is @ for now", word(random, 30)),
        31 => ("Server=db;User Id=app;Password=@;Encrypt=true", word(random, 10)),
        32 => ("X-Api-Key: @", word(random, 24)),
        33 => ("api_key = \"@\"", random.text(HEX, 64)),
        34 => ("Cookie: sid=@; theme=dark", word(random, 20)),
        35 => ("redis://:@@cache:6379/0", word(random, 10)),
        36 => ("@", format!("hf_{}", random.text(ALNUM, 34))),
        37 => ("sshpass -p @ ssh host", word(random, 8)),
        38 => ("my password is @", word(random, 8)),
        39 => ("DefaultEndpointsProtocol=https;AccountKey=@;x", word(random, 80) + "=="),
        40 => {
            let id = format!("MT7q{}", random.text(ALNUM, 20));
            ("@", format!("{id}.{}.{}", random.text(URL, 6), random.text(URL, 38)))
        }
        41 => ("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"@\"}}}", word(random, 40)),
        42 => (
            "client-key-data: @",
            format!("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ{}", random.text(ALNUM, 90)),
        ),
        43 => ("secret_key_base: @", random.text(HEX, 62) + "7f"),
        44 => ("<password>@</password>", word(random, 14)),
        45 => ("machine example.com login app password @", word(random, 14)),
        46 => ("localhost:5432:app:user:@", word(random, 14)),
        47 => ("ENV DB_PASSWORD @", word(random, 14)),
        48 => ("- name: DB_PASSWORD\n  value: @", word(random, 14)),
        49 => ("define('DB_PASSWORD','@')", word(random, 14)),
        50 => ("openssl rsa -in k.pem -passin pass:@ -out k", word(random, 14)),
        51 => ("zip -P @ all.zip a b", word(random, 14)),
        52 => ("echo @ | sudo -S true", word(random, 14)),
        53 => ("network={\n  ssid=\"home\"\n  psk=\"@\"\n}", word(random, 14)),
        54 => ("{\"headers\":[[\"Authorization\",\"@7\"]]}", "3".to_owned() + &word(random, 30)),
        55 => ("7z a -p@ all.7z", word(random, 14)),
        56 => ("machine example.com\n  login app\n  password @\n", word(random, 14)),
        57 => ("<wsse:Password Type=\"text\">@</wsse:Password>", word(random, 14)),
        58 => ("{\"name\": \"DB_PASSWORD\", \"value\": \"@\"}", word(random, 14)),
        59 => ("printf '%s\\n' '@' | sudo -kS true", word(random, 14)),
        60 => ("{\"headers\":[[\"Authorization\",\"Token @\"]]}", word(random, 30)),
        61 => ("[\"X-Api-Key\",\"@\"]", word(random, 30)),
        62 => ("[\"X-Api-Key\", \"@\"]", random.text("abcdefghijklmnopqrstuvwxyz", 24)),
        63 => ("['Authorization', 'ApiKey @']", word(random, 30)),
        _ => return None,
    })
}

const KINDS: usize = 64;

/// Places in a payload where a text with a secret can stand.
fn places(text: &str) -> Vec<Json> {
    let quoted = Json::String(text.to_owned()).to_string();
    let twice = Json::String(json!({"inner": text}).to_string()).to_string();
    vec![
        json!(text),
        json!(format!("before {text}")),
        json!(format!("{text}\nafter")),
        json!(format!("größe\n{text}\n漢字")),
        json!(["a", {"deep": [[{"x": text}]]}]),
        json!(format!("{{\"output\":{quoted}}}")),
        json!(format!("{{\"result\":{twice}}}")),
        json!(format!("line one\\n{text}\\nline two")),
        json!({text: 1}),
        json!(format!("echo \"{text}\"")),
    ]
}

pub(super) fn redacted(data: &Json) -> String {
    let mut event = example(Kind::Custom);
    event.payload = PayloadText::from_json(&json!({"name": "n", "data": data})).unwrap();
    event.redact(&Redactor::new());
    event.payload.as_str().to_owned()
}

#[test]
fn a_thousand_secrets_leave_no_trace() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut tried = 0;
    for round in 0..25 {
        for kind in 0..KINDS {
            let (context, secret) = secret(kind, &mut random).unwrap();
            let at = context.find('@').unwrap();
            let text = format!("{}{secret}{}", &context[..at], &context[at + 1..]);
            for (place, data) in places(&text).into_iter().enumerate() {
                // An argument after -p inside further quotes is another command; the plain places are enough for it.
                let result = redacted(&data);
                let trace = secret
                    .as_bytes()
                    .windows(8)
                    .find(|part| memchr::memmem::find(result.as_bytes(), part).is_some());
                assert!(trace.is_none(), "round {round}, kind {kind}, place {place}: {data} left {result}");
                assert!(result.contains(PLACEHOLDER), "kind {kind}, place {place}: {result}");
                let mut off = example(Kind::Custom);
                off.payload = PayloadText::from_json(&json!({"name": "n", "data": data})).unwrap();
                let before = off.payload.clone();
                off.redact(&Redactor::off());
                assert_eq!(off.payload, before, "with redaction off nothing else may take it out");
            }
            tried += 1;
        }
    }
    assert!(tried >= 1_000, "{tried}");
}

#[test]
fn named_fields_are_redacted_whatever_their_value_looks_like() {
    for (data, expected) in [
        (json!({"password": "hunter2"}), json!({"password": PLACEHOLDER})),
        (json!({"dbPassword": "correct horse"}), json!({"dbPassword": PLACEHOLDER})),
        (json!({"api_key": "abc123def"}), json!({"api_key": PLACEHOLDER})),
        (
            json!({"credentials": {"user": "u", "deep": ["v"]}}),
            json!({"credentials": {"user": PLACEHOLDER, "deep": [PLACEHOLDER]}}),
        ),
        (
            json!({"password": 12345, "secret": true, "passwd": null}),
            json!({"password": PLACEHOLDER, "secret": true, "passwd": null}),
        ),
        (
            json!({"headers": {"Authorization": "Bearer abcdef123456", "Cookie": "a=b"}}),
            json!({"headers": {"Authorization": format!("Bearer {PLACEHOLDER}"), "Cookie": PLACEHOLDER}}),
        ),
        (json!(["--password", "hunter2", "--force"]), json!(["--password", PLACEHOLDER, "--force"])),
        (
            json!({"name": "API_TOKEN", "value": "abc123def"}),
            json!({"name": "API_TOKEN", "value": PLACEHOLDER}),
        ),
        (json!({"auth": "Ym9iOmh1bnRlcjI="}), json!({"auth": PLACEHOLDER})),
        (
            json!({"auth": {"user_id": "u-8f3aK2mZpL9xRwT4cBnYdJfS", "password": "hunter2"}}),
            json!({"auth": {"user_id": "u-8f3aK2mZpL9xRwT4cBnYdJfS", "password": PLACEHOLDER}}),
        ),
        (json!({"password": {"auth": {"x": "hunter2"}}}), json!({"password": {"auth": {"x": PLACEHOLDER}}})),
        (
            json!({"headers": [["Authorization", "abcdef123456"], ["Cookie", "sid=abc"], ["Accept", "text/html"]]}),
            json!({"headers": [["Authorization", PLACEHOLDER], ["Cookie", PLACEHOLDER], ["Accept", "text/html"]]}),
        ),
        (
            json!([
                ["Authorization", "Token abcdef123456"],
                ["X-Api-Key", "abcdefghijklmnopqrst"],
                ["x-api-key", "hunter2hunter2"]
            ]),
            json!([
                ["Authorization", format!("Token {PLACEHOLDER}")],
                ["X-Api-Key", PLACEHOLDER],
                ["x-api-key", PLACEHOLDER]
            ]),
        ),
        (
            json!([
                ["Authorization", "Digest username=\"bob\", response=\"6629fae49393a053\""],
                ["authorization", "Basic Ym9iOmh1bnRlcjI="]
            ]),
            json!([
                ["Authorization", format!("Digest {PLACEHOLDER}")],
                ["authorization", format!("Basic {PLACEHOLDER}")]
            ]),
        ),
        (
            json!([
                ["Authorization", "Token authentication"],
                ["X-Api-Key", "Authorization"],
                ["X-Api-Key", "X-Request-Id"],
                ["X-Api-Key", "MY_API_KEY"]
            ]),
            json!([
                ["Authorization", "Token authentication"],
                ["X-Api-Key", "Authorization"],
                ["X-Api-Key", "X-Request-Id"],
                ["X-Api-Key", "MY_API_KEY"]
            ]),
        ),
        (
            json!([["Authorization", "X-B3-TraceId"], ["Cookie", "Set-Cookie"], ["password", "username"]]),
            json!([["Authorization", "X-B3-TraceId"], ["Cookie", "Set-Cookie"], ["password", "username"]]),
        ),
    ] {
        let expected = json!({"name": "n", "data": expected}).to_string();
        assert_eq!(redacted(&data), expected);
    }
}

#[test]
fn ids_and_places_are_never_touched() {
    let data = json!({
        "tool_use_id": "toolu_01A09q90qw90lq917835lq9", "agent_id": "a2898e3", "message_id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e", "parentUuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "cwd": "/home/dev/password=x", "transcript_path": "/home/token=abc123def/x", "commit": "606a162f0c8d7f3e5b1a9c2d4e6f8a0b1c2d3e4f",
    });
    assert_eq!(redacted(&data), json!({"name": "n", "data": data}).to_string());
}

#[test]
fn number_text_and_key_order_stay() {
    let payload =
        r#"{"z":1.50,"name":"n","data":{"b":1e+3,"a":12345678901234567890123,"password":"hunter2"}}"#;
    let mut event = example(Kind::Custom);
    event.payload = PayloadText::parse(payload).unwrap();
    event.redact(&Redactor::new());
    assert_eq!(event.payload.as_str(), payload.replace("hunter2", PLACEHOLDER));
}

#[test]
fn a_key_that_stands_twice_hides_nothing() {
    let payload = r#"{"name":"n","data":{"a":"ghp_abcdefghijklmnop0123456789","a":"x","b":1e3},"name":"n"}"#;
    let mut event = example(Kind::Custom);
    event.payload = PayloadText::parse(payload).unwrap();
    event.redact(&Redactor::new());
    assert_eq!(event.payload.as_str(), r#"{"name":"n","data":{"a":"x","b":1e+3}}"#);
}

#[test]
fn texts_of_the_envelope_are_redacted_and_its_ids_are_not() {
    let mut event = example(Kind::Custom)
        .with_project("ghp_abcdefghijklmnop0123456789")
        .with_agent("xoxb-123456789012-abc");
    event.source.host = "sk-ant-api03-abcdefgh".into();
    event.redact(&Redactor::new());
    assert_eq!((event.project.as_deref(), event.source.host.as_str()), (Some(PLACEHOLDER), PLACEHOLDER));
    assert_eq!(event.agent.as_deref(), Some("xoxb-123456789012-abc"));
}

#[test]
fn no_field_of_the_catalog_has_the_name_of_a_secret() {
    for &kind in Kind::ALL {
        let mut event = example(kind);
        event.redact(&Redactor::new());
        assert_eq!(event, example(kind), "{kind}");
    }
}

#[test]
fn two_keys_that_become_one_both_stay() {
    let result = redacted(&json!({"ghp_aaaaaaaaaaaaaaaaaaaa1": 1, "ghp_bbbbbbbbbbbbbbbbbbbb2": 2}));
    assert!(result.contains(r#""***REDACTED***":1,"***REDACTED***+":2"#), "{result}");
}

fn cut(data: &Json) -> Event {
    let mut event = example(Kind::Custom);
    event.payload = PayloadText::from_json(&json!({"name": "n", "data": data})).unwrap();
    event.redact(&Redactor::new());
    assert!(event.payload.as_str().len() <= PAYLOAD_BYTES_MAX, "{} bytes", event.payload.as_str().len());
    assert!(event.payload().is_ok());
    assert_eq!(event.payload.to_json()["name"], "n");
    let again = {
        let mut again = event.clone();
        again.redact(&Redactor::new());
        again
    };
    assert_eq!(again, event);
    event
}

#[test]
fn the_longest_strings_are_cut_first_and_noted() {
    let event =
        cut(&json!({"a/b": "x".repeat(90_000), "short": "y".repeat(20_000), "é": "é\n".repeat(20_000)}));
    let pointers: Vec<_> = event.cut.iter().map(|cut| (cut.pointer.as_str(), cut.bytes)).collect();
    assert_eq!(pointers, [("/data/a~1b", 90_000), ("/data/é", 60_000)]);
    assert_eq!(event.payload.to_json()["data"]["short"].as_str().unwrap().len(), 20_000);
    assert!(event.payload.as_str().len() > PAYLOAD_BYTES_MAX - 16);
}

#[test]
fn many_small_parts_fit_as_well() {
    for data in [
        json!(vec!["word"; 50_000]),
        json!(vec![json!({"k": [1, 2, 3]}); 20_000]),
        json!((0..20_000).map(|n| (format!("key{n}"), json!(n))).collect::<serde_json::Map<_, _>>()),
        json!({"k".repeat(200_000): 1, "x": "y"}),
        json!(vec!["x".repeat(300); 5_000]),
        json!(vec!["\u{1}".repeat(300); 5_000]),
        serde_json::from_str(&format!("[{}]", "1".repeat(100_000))).unwrap(),
    ] {
        let event = cut(&data);
        assert!(!event.cut.is_empty() && event.cut.len() <= 128);
    }
}

#[test]
fn many_unknown_fields_do_not_push_out_the_known_ones() {
    let mut payload = serde_json::Map::new();
    for n in 0..20_000 {
        payload.insert(format!("extra{n}"), json!(n));
    }
    payload.insert("tool".into(), json!("Bash"));
    payload.insert("tool_use_id".into(), json!("toolu_1"));
    payload.insert("input".into(), json!({"command": "x".repeat(100_000)}));
    let mut event = example(Kind::ToolCallStarted);
    event.payload = PayloadText::from_json(&Json::Object(payload)).unwrap();
    event.redact(&Redactor::new());
    assert!(event.payload.as_str().len() <= PAYLOAD_BYTES_MAX);
    assert!(event.payload().is_ok(), "{:?}", event.payload());
}

#[test]
fn a_secret_at_the_cut_does_not_survive_by_half() {
    for shift in (0..80).step_by(5) {
        let secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
        let text = format!("{} {secret} {}", "x".repeat(65_480 - shift), "y".repeat(1_000));
        let event = cut(&json!(text));
        assert!(!event.payload.as_str().contains("ghp_"), "shift {shift}");
        assert!(!event.payload.as_str().replace(PLACEHOLDER, "").contains("**"), "shift {shift}");
    }
}

#[test]
fn what_is_too_deep_becomes_text_and_is_not_lost() {
    let deep: Json =
        serde_json::from_str(&format!("{}\"core\"{}", "[".repeat(100), "]".repeat(100))).unwrap();
    let mut event = Event::new(
        ids::v7(Timestamp::EPOCH, [0; 10]),
        Timestamp::EPOCH,
        "i",
        Source::default(),
        payload::Custom { name: "n".into(), data: deep },
    );
    event.redact(&Redactor::new());
    let read = Event::decode(&event.encode()).unwrap();
    assert_eq!(read, event);
    assert!(read.payload.as_str().contains("core"));
}

/// Text parts at whose every repetition a careless scanner would read on to the end.
const HOSTILE: &[&str] = &[
    "token:",
    "password=",
    "sk-",
    "eyJ-",
    "eyJ",
    "cookie: ",
    "token=\"",
    "token='a b",
    "\\",
    "token=\\\"",
    "://a@",
    "://",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "-p",
    "-p ",
    " -p",
    "is ",
    "password is ",
    "password",
    "api key ",
    "key",
    "bearer ",
    "mysql -p",
    " --password x",
    "ghp_",
    "curl -u a:",
    "password: \\",
    "token =   ",
    "<password>",
    "<password>x",
    "<a:password ",
    "password\n",
    "LS0tLS1CRUdJTi",
    "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ",
    "h:5432:a:b:c",
    "h:5432:a:b:\\",
    "ENV TOKEN ",
    "machine a login b password ",
    "name: password\nvalue",
    "define('password','",
    "[\"Authorization\",\"",
    "[\"Authorization\",\"Token a",
    "'Your password:",
    "'Your password:'",
    "a password:'",
    "echo a | sudo -S ",
    "zip -P ",
    " -passin pass:",
    "auth=",
];

/// Bytes looked at in a text of twice the length, over those in one of the length.
fn growth(work: impl Fn(&str), part: &str) -> f64 {
    let of = |bytes: usize| {
        let text = part.repeat(bytes / part.len());
        redact::work::of(|| work(&text)) as f64
    };
    of(16_000) / of(8_000)
}

#[test]
fn work_is_linear_in_hostile_texts() {
    for part in HOSTILE {
        let growth = growth(|text| drop(Redactor::new().text(text)), part);
        assert!((1.5..2.5).contains(&growth), "twice {part:?} is {growth} times the work");
    }
    // A scanner that looks for the closing quote from every opening one is what this must tell.
    let careless = |text: &str| {
        for (at, _) in text.match_indices("=\"") {
            assert_eq!(redact::closing_quote_from(text, at + 2), text.len());
        }
    };
    assert!(growth(careless, "token=\"a b") > 3.5);
}

#[test]
fn a_secret_where_a_huge_string_is_trimmed_does_not_survive() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    for kind in 0..KINDS {
        let (context, secret) = secret(kind, &mut random).unwrap();
        let at = context.find('@').unwrap();
        let text = format!("{}{secret}{}", &context[..at], &context[at + 1..]);
        // PEM keys before it, so that what is left after the scan is far under the cap and the trim is the only cut.
        let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", "M".repeat(3_000));
        for inside in [1, 3, text.len() / 3, text.len() / 2, text.len() - 3] {
            let before = key.repeat(20);
            let limit = PAYLOAD_BYTES_MAX + 8 * 1024;
            let huge = format!(
                "{before}{} {text} {}",
                "x ".repeat((limit - before.len() - inside) / 2),
                "y".repeat(40_000)
            );
            assert!((huge.find(&text).unwrap()..huge.find(&text).unwrap() + text.len()).contains(&limit));
            let event = cut(&json!(huge));
            let left = event.payload.as_str();
            let trace = secret
                .as_bytes()
                .windows(4)
                .find(|part| memchr::memmem::find(left.as_bytes(), part).is_some());
            assert!(
                trace.is_none(),
                "kind {kind}: {secret} left {:?}",
                &left[left.len().saturating_sub(200)..]
            );
            assert!(left.len() < 20_000, "only the trim cut it");
            assert_eq!(event.cut, [Cut { pointer: "/data".into(), bytes: huge.len() as u64 }]);
        }
    }
    // A trim that does not mind where it falls is what this must tell.
    let huge = format!("{} ghp_abcdefghijklmnopqrstuvwxyz0123456789", "x".repeat(100));
    let careless = Redactor::new().text(&huge[..110]).into_owned();
    assert!(careless.contains("ghp_abcde"), "{careless}");
}

#[test]
fn what_was_trimmed_is_told_with_its_former_length_wherever_it_stood() {
    let huge = "word\n".repeat(60_000);
    let event = cut(&json!({"a/b": [huge], "short": 1}));
    assert_eq!(event.cut, [Cut { pointer: "/data/a~1b/0".into(), bytes: 300_000 }]);
    let mut many = vec!["x".repeat(300); 5_000];
    many.push(huge);
    let event = cut(&json!(many));
    // 5,000 strings of 302 bytes, one of 360,002 as JSON text, and what stands around and between them.
    assert_eq!(event.cut, [Cut { pointer: "/data".into(), bytes: 5_000 * 302 + 360_002 + 2 + 5_000 }]);
    let event = cut(&json!({"password": "word ".repeat(60_000)}));
    assert!(event.cut.is_empty(), "a secret goes whole: {:?}", event.cut);
}

#[test]
fn a_list_that_is_cut_for_certain_is_cut_as_if_all_of_it_had_been_scanned() {
    let line = |n: usize| match n % 7 {
        0 => json!(format!("password={n}secretvalue{n} and more")),
        1 => json!({"token": format!("t0k3n{n}t0k3n"), "n": n, "of": ["a", n]}),
        2 => json!([format!("line {n}"), {"deep": [n, "\u{1}\n\"é"]}]),
        3 => json!("x".repeat(n % 900)),
        4 => json!("--password"),
        _ => json!(format!("    let parcel_{n} = parcels.get({n});")),
    };
    let lines = |n| (0..n).map(line).collect::<Json>();
    for data in [
        lines(200),
        lines(1_000),
        lines(1_500),
        lines(9_000),
        json!({"stdout": lines(9_000), "stderr": ["the end"]}),
        json!([["first"], lines(9_000), lines(9_000), "last"]),
        json!({"password": lines(9_000)}),
        json!(vec!["x".repeat(600); 127]),
        json!(vec!["x".repeat(256); 127]),
        json!(vec!["x".repeat(3_000); 1_000]),
    ] {
        let event = cut(&data);
        let mut whole = json!({"name": "n", "data": data});
        Redactor::new().value(&mut whole);
        let mut expected = example(Kind::Custom);
        expected.payload = PayloadText::from_json(&whole).unwrap();
        expected.redact(&Redactor::off());
        assert_eq!(event.payload.as_str(), expected.payload.as_str());
        let pointers = |event: &Event| event.cut.iter().map(|cut| cut.pointer.clone()).collect::<Vec<_>>();
        assert_eq!(pointers(&event), pointers(&expected));
    }
    // And most of it is not scanned.
    let event = |lines: usize| {
        let mut event = example(Kind::Custom);
        let data = json!({"name": "n", "data": vec!["a line as short as many are"; lines]});
        event.payload = PayloadText::from_json(&data).unwrap();
        event
    };
    let work_of = |mut event: Event, redactor: &Redactor| redact::work::of(|| event.redact(redactor));
    let [some, many] = [10_000, 100_000].map(|lines| work_of(event(lines), &Redactor::new()));
    assert_eq!(some, many);
    let mut all = event(100_000).payload.to_json();
    assert!(
        redact::work::of(|| Redactor::new().value(&mut all)) > 10 * many,
        "control: to scan all of it is more"
    );
}

/// Texts that are rich in what the scanners look for.
fn spiky() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "password",
            "token",
            "api_key",
            "=",
            ": ",
            ":",
            "\"",
            "'",
            "\\",
            "\\\"",
            "\n",
            "\\n",
            " ",
            "--password ",
            "-p",
            "mysql ",
            "Bearer ",
            "basic ",
            "://",
            "@",
            "ghp_",
            "sk-",
            "eyJ",
            ".",
            "***REDACTED***",
            "-----BEGIN ",
            "PRIVATE KEY",
            "-----",
            "-----END ",
            "é",
            "漢",
            "Cookie: ",
            "is ",
            "$",
            "curl -u ",
            "hooks.slack.com/services/",
            "secret",
            "auth",
            "<password>",
            "</",
            "ENV ",
            "name: ",
            "value: ",
            "machine a login b ",
            ":5432:a:b:",
            "echo ",
            " | sudo -S",
            "zip -P ",
            "[\"Authorization\",\"",
            "[\"X-Api-Key\", \"",
            "Token ",
            "'Your password:'",
            "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ",
            "{",
            "}",
            "[",
            ",",
            "&",
            ";",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9]{1,24}",
        "[0-9a-f]{40}",
        ".{0,4}",
    ];
    prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn redacting_twice_is_redacting_once(text in spiky()) {
        let redactor = Redactor::new();
        let once = redactor.text(&text).into_owned();
        prop_assert_eq!(redactor.text(&once), once.as_str(), "from {:?}", text);
    }

    #[test]
    fn a_redacted_event_is_valid_and_stays_so(mut event in any_event(), data in prop::collection::vec((spiky(), spiky()), 0..4)) {
        event = event.with_extra_fields(data.into_iter().map(|(key, text)| (key, json!([text, {"password": text}]))));
        event.redact(&Redactor::new());
        event.version = 1;
        prop_assert!(event.payload().is_ok());
        prop_assert_eq!(&Event::decode(&event.encode()).unwrap(), &event);
        let mut again = event.clone();
        again.redact(&Redactor::new());
        prop_assert_eq!(again, event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_payload_fits_and_is_json(sizes in prop::collection::vec((0_usize..40_000, 1_usize..3, "[a-z\u{1}é\"]"), 1..6)) {
        let data: Vec<_> = sizes.into_iter().map(|(length, copies, text)| json!({"v": vec![text.repeat(length); copies]})).collect();
        cut(&json!(data));
    }
}
