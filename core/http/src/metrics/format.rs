//! The two text formats of `/metrics`: OpenMetrics, and the older one of Prometheus.
//!
//! What encodes the figures knows the first alone; the second is made of it.

use std::fmt::Write as _;

use http::header::{ACCEPT, HeaderMap};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The format of Prometheus, 0.0.4: what all scrapers read.
    Prometheus,
}

impl Format {
    /// What a scraper asks for: OpenMetrics if it names that, and likes nothing better.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Self {
        let (mut open, mut plain) = (0.0, 0.0);
        let values = headers.get_all(ACCEPT).iter();
        for item in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let mut parameters = item.split(';').map(str::trim);
            let kind = parameters.next().unwrap_or_default();
            let (mut quality, mut version) = (1.0, None);
            for (name, value) in parameters.filter_map(|text| text.split_once('=')) {
                if name.eq_ignore_ascii_case("q") {
                    quality = value.parse().unwrap_or(0.0);
                } else if name.eq_ignore_ascii_case("version") {
                    version = Some(value);
                }
            }
            let liked = if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                matches!(version, None | Some("1.0.0")).then_some(&mut open)
            } else if kind.eq_ignore_ascii_case("text/plain") {
                matches!(version, None | Some("0.0.4")).then_some(&mut plain)
            } else {
                None
            };
            if let Some(liked) = liked {
                *liked = f32::max(*liked, quality);
            }
        }
        if open > 0.0 && open >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// What the answer's `Content-Type` says.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// A text of OpenMetrics in this format.
    pub(crate) fn written(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Prometheus => older(&text),
        }
    }
}

/// In the older format a family has the name of its samples, there are fewer types, and no units.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                same => ("", same),
            };
            let written = write!(
                older,
                "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
            );
            written.expect("a string takes all that is written to it");
        } else if !line.starts_with('#') {
            older.push_str(line);
            older.push('\n');
        }
    }
    older
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn each_scraper_gets_the_format_that_it_asks_for() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            // Prometheus 2.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            ("application/openmetrics-text", OpenMetrics),
            ("text/plain;version=0.0.4", Prometheus),
            (
                "text/plain; version=0.0.4, application/openmetrics-text; q=0.5",
                Prometheus,
            ),
            ("application/openmetrics-text; version=2.0.0", Prometheus),
            ("application/openmetrics-text; q=0", Prometheus),
            ("text/html, */*;q=0.8", Prometheus),
            ("*/*", Prometheus),
            ("", Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Format::asked_for(&headers), expected, "{accept}");
        }
        assert_eq!(Format::asked_for(&HeaderMap::new()), Prometheus);
    }

    #[test]
    fn a_family_has_the_name_of_its_samples_in_the_older_format() {
        let text = "\
            # HELP pushes Pushes accepted\n\
            # TYPE pushes counter\n\
            pushes_total{worker=\"0\"} 7\n\
            # HELP build The version that runs.\n\
            # TYPE build info\n\
            build_info{version=\"0.1.0\"} 1\n\
            # HELP took_seconds Time from push to receipt\n\
            # TYPE took_seconds histogram\n\
            # UNIT took_seconds seconds\n\
            took_seconds_sum 0.5\n\
            # EOF\n";
        assert_eq!(
            older(text),
            "# HELP pushes_total Pushes accepted\n\
             # TYPE pushes_total counter\n\
             pushes_total{worker=\"0\"} 7\n\
             # HELP build_info The version that runs.\n\
             # TYPE build_info gauge\n\
             build_info{version=\"0.1.0\"} 1\n\
             # HELP took_seconds Time from push to receipt\n\
             # TYPE took_seconds histogram\n\
             took_seconds_sum 0.5\n"
        );
    }
}
