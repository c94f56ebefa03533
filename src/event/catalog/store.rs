//! Rows of the catalog: the store's own health.

macro_rules! store_rows {
    ([$next:ident $($chain:ident)*] $($rows:tt)*) => { $next! { [$($chain)*] $($rows)*
JournalRecovered journal_recovered Store 7 v1 produced "the store, when it opened a journal that was not closed cleanly; at most once a minute where nothing was cut and nothing is damaged" ~ "tail {tail_seq}, {torn_bytes:torn byte}, {damaged_ranges:damaged range}" {
    tail_seq: u64 = 1205 => "The next seq after recovery.",
    torn_bytes: u64 = 312 => "Bytes of an unfinished last batch that were cut off.",
    quarantine_file: Option<String> = "00000000000000000001.seg.tail" => "Where those bytes are kept.",
    damaged_ranges: u64 = 0 => "Damaged ranges below the proven durable point.",
}
CorruptionDetected corruption_detected Store 9 v1 produced "the store, once for each damaged range" ~ "seq {from_seq} to {to_seq} in {segment}" {
    from_seq: u64 = 40 => "First seq that cannot be read; where all can, the first seq of the segment.",
    to_seq: u64 = 40 => "Last seq that cannot be read; where all can, the last seq of the segment.",
    segment: String = "00000000000000000001.seg" => "The damaged file.",
    detail: Option<String> = "record checksum differs" => "What is wrong with it.",
    readable: Option<bool> = false => "True where every record can be read all the same: a header, a footer, padding, a proof or the chain is damaged.",
    offset: Option<u64> = 4096 => "Where in the file the damage begins, if that is known.",
    bytes: Option<u64> = 352 => "How many bytes around it are concerned.",
}
InboxDrained inbox_drained Store 4 v1 produced "the store, when it opened and found a backlog in the inbox" ~ "{events:event}, {duplicates} known before, {quarantined} quarantined" {
    events: u64 = 31 => "Events taken into the journal.",
    duplicates: u64 = 0 => "Events that the journal already held.",
    quarantined: u64 = 0 => "Files that could not be read and were set aside.",
}
RetentionApplied retention_applied Store 6 v1 produced "the store, when it dropped whole oldest segments" ~ "seq {from_seq} to {to_seq}, {freed_bytes} bytes" {
    from_seq: u64 = 1 => "First seq dropped.",
    to_seq: u64 = 90000 => "Last seq dropped.",
    segments: u64 = 1 => "Segments dropped.",
    freed_bytes: u64 = 67108864 => "Space given back.",
    reason: String = "age" => "age or size.",
}
SubscriberLagged subscriber_lagged Store 5 v1 produced "the store, when a follower fell back to reading files" ~ "{behind} behind at {cursor_seq}" {
    subscriber: String = "sse" => "What sort of follower it is.",
    cursor_seq: u64 = 400 => "Where it stands.",
    behind: u64 = 12000 => "How many events it is behind the durable tail.",
}
RateLimited rate_limited Store 5 v1 produced "the server, at most once a minute, when it refused requests for the rate of their events" ~ "{refused:request}[ with {events:event}] refused on {route}" {
    route: String = "/events/emit" => "Where.",
    refused: u64 = 210 => "Requests, not events, refused since the last such event of this route. One that is sent again and refused again counts again.",
    limit_per_second: u64 = 1000 => "The limit: how many events a second a source may emit.",
    events: Option<u64> = 4200 => "How many events were in those requests.",
}
WebhookDelivered webhook_delivered Store 4 v1 reserved "the server, when a webhook endpoint took an event" ~ "{endpoint}: seq {seq} (status {status}, {duration_ms})" {
    endpoint: String = "ops" => "The endpoint's name in the configuration.",
    seq: u64 = 1200 => "The event delivered.",
    attempt: u32 = 1 => "Which attempt, from 1.",
    status: u32 = 204 => "The HTTP status it answered.",
    duration_ms: u64 = 35 => "Time it took.",
}
WebhookFailed webhook_failed Store 7 v1 reserved "the server, when it gave up on a webhook delivery" ~ "{endpoint}: seq {seq} after {attempts} attempts: {error}" {
    endpoint: String = "ops" => "The endpoint's name in the configuration.",
    seq: u64 = 1200 => "The event not delivered.",
    attempts: u32 = 8 => "Attempts made.",
    error: String = "connection refused" => "Why the last one failed.",
}
    } };
}
pub(super) use store_rows;
