//! Bounds of the format: what a writer may write and a reader must be able to take.

/// Bytes of one string.
pub const STRING_BYTES_MAX: usize = 64 << 10;
/// Bytes of a string that is written into a head or a log line.
pub const LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes of a blob's name, and of a name that refers to one.
pub const BLOB_NAME_BYTES_MAX: usize = 1 << 10;
/// Records of one section.
pub const RECORDS_MAX: usize = 4 << 20;
/// Sections of one blob.
pub const SECTIONS_MAX: usize = 32;
/// Bytes of one blob.
pub const BLOB_BYTES_MAX: usize = 64 << 20;
/// Blobs of one snapshot.
pub const BLOBS_MAX: usize = 1 << 20;
/// Bytes of one snapshot file.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Milliseconds of any timeout: ten years.
pub const TIMEOUT_MS_MAX: u64 = 10 * 366 * 86_400_000;
/// A share of requests: all of them.
pub const PER_MILLION_MAX: u32 = 1_000_000;
/// Points of a hash ring, or entries of a Maglev table (Envoy: 8,388,608 and 5,000,011).
pub const HASH_TABLE_SIZE_MAX: u32 = 1 << 20;
/// Attributes of a generated cookie.
pub const COOKIE_ATTRIBUTES_MAX: usize = 16;
/// Probes of a TCP keepalive, as Linux takes them.
pub const KEEPALIVE_PROBES_MAX: u32 = 127;
/// Seconds of a TCP keepalive, as Linux takes them.
pub const KEEPALIVE_S_MAX: u32 = 32_767;
/// Labels of a place, and of a failover priority.
pub const PLACE_LABELS_MAX: usize = 64;
/// Entries of `distribute`, localities of one of them, and regions of `failover`.
pub const LOCALITIES_MAX: usize = 256;
/// Hundredths of a percent in a whole.
pub const WARMUP_MINIMUM_MAX: u32 = 10_000;
/// Thousandths of the fastest growth of a warm-up: what is beyond is a step.
pub const WARMUP_AGGRESSION_MAX: u32 = 1_000_000;
/// Destinations of copies of one request.
pub const MIRRORS_MAX: u32 = 16;
/// Texts and variables of a header's value.
pub const VALUE_PARTS_MAX: u32 = 64;
/// Bytes of a time format; what it writes is at most seven times as long.
pub const TIME_FORMAT_BYTES_MAX: usize = 64;
/// Bytes of a request head; its positions are 16 bits wide.
pub const HEAD_BYTES_MAX: u32 = 60 << 10;
/// Bytes of a request head that every proxy takes.
pub const HEAD_BYTES_MIN: u32 = 256;
/// Lines of a request head; they are counted in 8 bits.
pub const HEAD_FIELDS_MAX: u32 = 250;

/// Proxies in front of a gateway that are believed.
pub const TRUSTED_PROXIES_MAX: u32 = 255;

/// Tries of one request after the first.
pub const RETRY_ATTEMPTS_MAX: u32 = 255;
/// Hundredths of a percent that a retry budget may have: all requests.
pub const RETRY_SHARE_MAX: u32 = 10_000;

/// Bytes of one message.
pub const MESSAGE_BYTES_MAX: usize = 65 << 20;
/// Names in one Want or Absent.
pub const WANT_NAMES_MAX: usize = 256;
/// Bytes of one wanted name.
pub const NAME_BYTES_MAX: usize = 512;
/// Labels in a Hello.
pub const LABELS_MAX: usize = 256;
/// Bytes of the reason in a Nack.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// Bytes of all strings that a blob's records refer to, each counted as often as it is referred to. Strings are shared, so a small blob could
/// otherwise name gigabytes.
pub const fn text_bytes_max(blob_bytes: usize) -> usize {
    (16 << 20) + 64 * blob_bytes
}
