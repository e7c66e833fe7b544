//! Points in time as text, in UTC: RFC 3339, or as a `strftime` format says with Envoy's `%f` for fractions of a second.

use std::fmt::{self, Write};

use crate::limits::TIME_FORMAT_BYTES_MAX;

/// What a format is that is not given.
pub const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

/// Microseconds since 1970 as `2026-11-21T04:05:06.789Z`.
pub struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, RFC_3339, self.0).map_err(|_| fmt::Error)
    }
}

/// What a format has that stands for nothing, or that no text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFormat;

/// Whether a format can be written: nothing but printable ASCII comes out.
pub fn is_format(format: &str) -> bool {
    struct Nowhere;
    impl Write for Nowhere {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Ok(())
        }
    }
    format.len() <= TIME_FORMAT_BYTES_MAX
        && format.bytes().all(|b| (0x20..0x7f).contains(&b))
        && write(&mut Nowhere, format, 0).is_ok()
}

/// Writes microseconds since 1970. `%Y %y %m %d %e %j %H %I %M %S %p %a %A %b %h %B %F %T %D %R %z %Z %%` are `strftime`'s in the C locale; `%s` is
/// seconds since 1970; `%f`, `%1f` to `%9f` are digits of the fraction of a second (nine without a number), and `%E1S` to `%E9S` seconds with one.
///
/// # Errors
/// Anything else after a `%`.
pub fn write(out: &mut impl Write, format: &str, us: u64) -> Result<(), NoFormat> {
    let time = Civil::of(us / 1_000_000);
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.write_str(before).map_err(|_| NoFormat)?;
        let (kind, after) = specifier(after).ok_or(NoFormat)?;
        match kind {
            Kind::Fraction(digits) => fraction(out, us, digits),
            Kind::SecondsAndFraction(digits) => {
                write!(out, "{:02}.", time.second).and_then(|()| fraction(out, us, digits))
            }
            Kind::Plain(letter) => plain(out, letter, &time, us / 1_000_000),
        }
        .map_err(|_| NoFormat)?;
        rest = after;
    }
    out.write_str(rest).map_err(|_| NoFormat)
}

enum Kind {
    Plain(char),
    Fraction(usize),
    SecondsAndFraction(usize),
}

/// What a text behind a `%` begins with.
fn specifier(text: &str) -> Option<(Kind, &str)> {
    let digits =
        |text: &str| text.chars().next()?.to_digit(10).filter(|digits| *digits > 0).map(|digits| digits as usize);
    if let Some(after) = text.strip_prefix('f') {
        return Some((Kind::Fraction(9), after));
    }
    if let Some(count) = digits(text) {
        return Some((Kind::Fraction(count), text[1..].strip_prefix('f')?));
    }
    if let Some(after) = text.strip_prefix('E') {
        return Some((Kind::SecondsAndFraction(digits(after)?), after[1..].strip_prefix('S')?));
    }
    const PLAIN: &str = "YymdejHIMSpaAbhBFTDRzZs%";
    let letter = text.chars().next().filter(|letter| PLAIN.contains(*letter))?;
    Some((Kind::Plain(letter), &text[1..]))
}

fn fraction(out: &mut impl Write, us: u64, digits: usize) -> fmt::Result {
    let nanoseconds = us % 1_000_000 * 1000;
    let all = 10u64.pow(9 - digits as u32);
    write!(out, "{:0digits$}", nanoseconds / all)
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn plain(out: &mut impl Write, letter: char, time: &Civil, seconds: u64) -> fmt::Result {
    let Civil { year, month, day, of_year, weekday, hour, minute, second } = *time;
    let half_day = if hour % 12 == 0 { 12 } else { hour % 12 };
    let short_year = year.rem_euclid(100);
    match letter {
        'Y' => write!(out, "{year:04}"),
        'y' => write!(out, "{short_year:02}"),
        'm' => write!(out, "{month:02}"),
        'd' => write!(out, "{day:02}"),
        'e' => write!(out, "{day:2}"),
        'j' => write!(out, "{of_year:03}"),
        'H' => write!(out, "{hour:02}"),
        'I' => write!(out, "{half_day:02}"),
        'M' => write!(out, "{minute:02}"),
        'S' => write!(out, "{second:02}"),
        'p' => out.write_str(if hour < 12 { "AM" } else { "PM" }),
        'a' => out.write_str(&DAYS[weekday][..3]),
        'A' => out.write_str(DAYS[weekday]),
        'b' | 'h' => out.write_str(&MONTHS[month as usize - 1][..3]),
        'B' => out.write_str(MONTHS[month as usize - 1]),
        'F' => write!(out, "{year:04}-{month:02}-{day:02}"),
        'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        'D' => write!(out, "{month:02}/{day:02}/{short_year:02}"),
        'R' => write!(out, "{hour:02}:{minute:02}"),
        'z' => out.write_str("+0000"),
        'Z' => out.write_str("UTC"),
        's' => write!(out, "{seconds}"),
        other => out.write_char(other),
    }
}

/// A second of the calendar.
struct Civil {
    year: i64,
    /// From 1.
    month: u32,
    /// From 1.
    day: u32,
    /// From 1.
    of_year: i64,
    /// From Sunday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// Days to civil date after Howard Hinnant's `civil_from_days`.
    fn of(seconds: u64) -> Civil {
        let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let year = yoe + era * 400 + i64::from(month <= 2);
        let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        // `doy` counts from the first of March.
        let of_year = if month > 2 { doy + 60 + leap } else { doy - 305 };
        Civil {
            year,
            month: month as u32,
            day: day as u32,
            of_year,
            weekday: (days + 4).rem_euclid(7) as usize,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        const LEAP_DAY: u64 = 951_782_400_000_000;
        const NOW: u64 = 1_795_231_506_789_012;
        for (us, format, expected) in [
            (0, "%Y-%m-%dT%H:%M:%E3SZ", "1970-01-01T00:00:00.000Z"),
            (LEAP_DAY, "%F %T %j %a %e", "2000-02-29 00:00:00 060 Tue 29"),
            (NOW, "%Y/%m/%dT%H:%M:%S%z %s", "2026/11/21T03:25:06+0000 1795231506"),
            (NOW, "%s.%3f %6f %f %1f", "1795231506.789 789012 789012000 7"),
            (NOW, "%d/%b/%Y %A %B %I:%M %p %y %Z 100%%", "21/Nov/2026 Saturday November 03:25 AM 26 UTC 100%"),
            (NOW, "%D %R %j %h", "11/21/26 03:25 325 Nov"),
            (NOW + 43_200_000_000, "%I%p", "03PM"),
            (0, "%I%p %j", "12AM 001"),
            (0, "", ""),
        ] {
            let mut out = String::new();
            assert_eq!(write(&mut out, format, us), Ok(()), "{format}");
            assert_eq!(out, expected, "{format}");
        }
        assert_eq!(Rfc3339(NOW).to_string(), "2026-11-21T03:25:06.789Z");
    }

    #[test]
    fn the_longest_text_of_a_format() {
        let longest = |letters: &str| letters.repeat(TIME_FORMAT_BYTES_MAX / letters.len());
        for format in ["%s", "%A", "%B", "%F", "%f", "%E9S", "%9f", "%z"].map(longest) {
            let mut out = String::new();
            assert!(is_format(&format) && write(&mut out, &format, u64::MAX).is_ok());
            assert!(out.len() <= 7 * TIME_FORMAT_BYTES_MAX, "{format}: {}", out.len());
        }
        assert!(!is_format(&"a".repeat(TIME_FORMAT_BYTES_MAX + 1)));
    }

    #[test]
    fn what_stands_for_nothing() {
        for format in ["%", "%Q", "%0f", "%3", "%E", "%ES", "%E3", "%é", "é", "a%", "%n"] {
            assert!(!is_format(format), "{format}");
        }
    }
}
